# Loads a checkpoint folder with stock transformers (no remote code) and writes its logits: proof that exports load.
#   python load_export.py DIR ids.json logits.json
# ids.json: a list of sequences of ids, or of {"ids": [[…]], "mask": [[…]]} batches. logits.json: one entry for each,
# nested lists [S, V] or [B, S, V] (logits at padding are 0); give logits.safetensors for tensors named 0, 1, …
# instead. Exit code 1 when a key is missing, left over or of another shape: the library then fills in random weights
# and goes on.
import json
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def batch_of(entry):
    if isinstance(entry, dict):
        ids = torch.tensor(entry['ids'])
        return ids, torch.tensor(entry['mask']) if 'mask' in entry else torch.ones_like(ids), True
    ids = torch.tensor([entry])
    return ids, torch.ones_like(ids), False


def logits_of(model, entry):
    ids, mask, batched = batch_of(entry)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits.float()
    logits = torch.where(mask[..., None] == 1, logits, 0.0)
    return logits if batched else logits[0]


def report(info):
    bad = False
    for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys', 'error_msgs'):
        for key in info.get(kind) or ():
            print(f'{kind}: {key}', file=sys.stderr)
            bad = True
    return bad


def main(folder, ids_file, out_file):
    print(f'torch {torch.__version__}, transformers {transformers.__version__}', file=sys.stderr)
    transformers.utils.logging.disable_progress_bar()
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation='eager', dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    bad = report(info)
    print(f'{type(model).__name__}, {sum(p.numel() for p in model.parameters())} parameters', file=sys.stderr)
    with open(ids_file) as file:
        outs = [logits_of(model.eval(), entry) for entry in json.load(file)]
    if out_file.endswith('.safetensors'):
        save_file({str(i): out.contiguous() for i, out in enumerate(outs)}, out_file)
    else:
        with open(out_file, 'w') as file:
            json.dump([out.tolist() for out in outs], file)
    return 1 if bad else 0


if __name__ == '__main__':
    if len(sys.argv) != 4:
        raise SystemExit('python load_export.py DIR ids.json logits.json')
    raise SystemExit(main(*sys.argv[1:]))
