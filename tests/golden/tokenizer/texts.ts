// Prints the texts that kinds.py trains on and encodes: npx tsx tests/golden/tokenizer/texts.ts > texts.json
import { heldOutArticles, TRICKY, trainingArticles } from '../../data/tokenizer/texts.ts';

console.log(JSON.stringify({ training: trainingArticles(), heldOut: heldOutArticles(), tricky: TRICKY }));
