# Makes beams.json: beam search of the transformers library (5.23.0, torch 2.13.0 CPU) on checkpoints of tests/golden/hf.
#   python tests/golden/generate/beams.py
# Each case: settings, prompt, and per returned text its ids (without the token that ended it) and score. A case is kept only
# if neighbouring scores differ by 1e-4 and the model run in double returns the same texts.
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = Path(sys.path[0])
HF = HERE.parent / 'hf'
CASES = {
    'mistral': [{}, {'eos': [61]}, {'eos': [40, 61], 'length_penalty': 0.0}, {'eos': [61], 'early_stopping': True}],
    'qwen3_moe': [{}, {'eos': [40]}, {'eos': [40, 18], 'length_penalty': 2.0}, {'num_beams': 5, 'eos': [40]}],
}


def search(model, prompt, case):
    eos = case.get('eos', [])
    beams = case.get('num_beams', 3)
    out = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=eos or None,
        pad_token_id=0,
        length_penalty=case.get('length_penalty', 1.0),
        early_stopping=case.get('early_stopping', False),
        return_dict_in_generate=True,
        output_scores=True,
    )
    texts = []
    for row, score in zip(out.sequences.tolist(), out.sequences_scores.tolist()):
        ids = row[len(prompt) :]
        ends = [i for i, token in enumerate(ids) if token in eos]
        texts.append({'ids': ids[: ends[0]] if ends else ids, 'score': score})
    return texts


golden = {'versions': {'transformers': transformers.__version__, 'torch': torch.__version__}, 'cases': []}
for name, cases in CASES.items():
    prompt = json.loads((HF / name / 'golden.json').read_text())['generation']['prompt']
    model = AutoModelForCausalLM.from_pretrained(HF / name, attn_implementation='eager', dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    if name == 'qwen3_moe':
        model.set_experts_implementation('eager')  # the others do not run in double
    for case in cases:
        texts = search(model.float(), prompt, case)
        exact = search(model.double(), prompt, case)
        gap = min(abs(a['score'] - b['score']) for a, b in zip(texts, texts[1:]))
        if [t['ids'] for t in texts] != [t['ids'] for t in exact] or gap < 1e-4:
            sys.exit(f'{name} {case}: a near tie ({gap}); take other settings')
        settings = {'num_beams': 3, 'length_penalty': 1.0, 'early_stopping': False, 'eos': [], **case}
        golden['cases'].append({'checkpoint': name, **settings, 'prompt': prompt, 'texts': texts})
        print(name, settings, [(len(t['ids']), round(t['score'], 4)) for t in texts])
(HERE / 'beams.json').write_text(json.dumps(golden, separators=(',', ':')) + '\n')
