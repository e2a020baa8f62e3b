# Makes ids.json: what Hugging Face's Python library (tokenizers 0.23) answers for a tokenizer.json of ours.
#   npx tsx tests/golden/tokenizer/dump.ts > dump.json && python tests/golden/tokenizer/make.py < dump.json
import hashlib
import json
import sys

from tokenizers import Tokenizer

dump = json.load(sys.stdin)
tokenizer = Tokenizer.from_str(dump['tokenizer'])


def ids(text):
    return tokenizer.encode(text, add_special_tokens=False).ids


sha256 = {
    language: hashlib.sha256(''.join(' '.join(map(str, ids(text))) + '\n' for text in texts).encode()).hexdigest()[:16]
    for language, texts in dump['declaration'].items()
}
golden = {
    'tokenizer': hashlib.sha256(dump['tokenizer'].encode()).hexdigest(),
    'ids': {name: ids(text) for name, text in dump['tricky'].items()},
    'sha256': sha256,
}
json.dump(golden, open(f'{sys.path[0]}/ids.json', 'w'), ensure_ascii=False, separators=(',', ':'))
