# What stock transformers computes with an export of checkpoint/: python make.py EXPORTED, where EXPORTED was made by
#   moe export tests/golden/hub-export/checkpoint --to qwen2-moe --out EXPORTED
# checkpoint/ is step 150 of the tiny world of tests/cli/world.ts: --steps 150 --set train.learning_rate=0.01
# --set train.dense_learning_rate=0.01 --set upcycle.at=0.2, experts trained apart, logits up to 7.
# Writes golden.json (ids, versions, SHA-256 of the files that were loaded, what AutoTokenizer gives) and logits.safetensors
# (sequenceI [S, V]). Fails when a key is missing, left over or of another shape.
import hashlib
import json
import random
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
TEXT = 'Grüße, मज़ा! 例 <|endoftext|>'


def main(folder):
    draw = random.Random(1)
    sequences = [[draw.randrange(257) for _ in range(length)] for length in (5, 17, 40)]
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation='eager', dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    faults = {kind: list(keys) for kind, keys in info.items() if keys}
    if faults:
        raise SystemExit(f'the export does not fit: {faults}')
    with torch.no_grad():
        logits = [model.eval()(torch.tensor([ids]), use_cache=False).logits[0].contiguous() for ids in sequences]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    golden = {
        'versions': {'torch': torch.__version__, 'transformers': transformers.__version__},
        'class': type(model).__name__,
        'sha256': {
            name: hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest()
            for name in ('config.json', 'model.safetensors', 'tokenizer_config.json', 'generation_config.json')
        },
        'sequences': sequences,
        'text': {'text': TEXT, 'ids': tokenizer(TEXT)['input_ids'], 'eos': tokenizer.eos_token_id},
    }
    (HERE / 'golden.json').write_text(json.dumps(golden) + '\n')
    save_file({f'sequence{i}': each for i, each in enumerate(logits)}, HERE / 'logits.safetensors')


main(sys.argv[1])
