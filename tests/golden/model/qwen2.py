# Golden logits of the transformers library for one small random Qwen2, tied (rope_theta 1e4) and untied (1e6), on a plain,
# a left-padded and a right-padded batch. Run in this folder: python qwen2.py  (torch 2.13.0, transformers 5.23.0, safetensors)
# Writes qwen2.safetensors: every weight (lm_head used by the untied model only) and logits.<model>.<batch> [B, S, V];
# and qwen2.json: the two configurations and the batches. Logits at padding mean nothing and are set to 0.
import json
import torch
import transformers
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

V, EOS = 64, 63
torch.manual_seed(2410)
common = dict(
    vocab_size=V, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    rms_norm_eps=1e-6, max_position_embeddings=128, hidden_act='silu', use_sliding_window=False,
    attn_implementation='eager',
)
settings = {'tied': (True, 10_000.0), 'untied': (False, 1_000_000.0)}
plain = torch.randint(0, V - 1, (2, 9))
left = plain.clone()
left[0, :3] = EOS
left[1, :5] = EOS
left_mask = torch.ones_like(left)
left_mask[0, :3] = 0
left_mask[1, :5] = 0
right = plain.clone()
right[0, 7:] = EOS
right[1, 4:] = EOS
right_mask = torch.ones_like(right)
right_mask[0, 7:] = 0
right_mask[1, 4:] = 0
batches = {'plain': (plain, torch.ones_like(plain)), 'left': (left, left_mask), 'right': (right, right_mask)}


def build(tied, theta):
    config = Qwen2Config(
        **common, tie_word_embeddings=tied, rope_parameters={'rope_type': 'default', 'rope_theta': theta}
    )
    return Qwen2ForCausalLM(config).float().eval()


# Large enough that attention is sharp and logits differ: biases and norms are not the trivial ones either.
weights = {}
for name, tensor in build(False, 1e6).state_dict().items():
    draw = torch.randn(tensor.shape)
    if name.endswith('norm.weight'):
        weights[name] = 1 + 0.3 * draw
    elif name.endswith('bias'):
        weights[name] = 0.5 * draw
    elif 'embed_tokens' in name or 'lm_head' in name:
        weights[name] = 0.7 * draw
    else:
        weights[name] = draw * 1.3 / tensor.shape[1] ** 0.5
out = dict(weights)
for model_name, (tied, theta) in settings.items():
    model = build(tied, theta)
    own = {k: v for k, v in weights.items() if not (tied and k == 'lm_head.weight')}
    missing, unexpected = model.load_state_dict(own, strict=False)
    assert unexpected == [] and set(missing) <= ({'lm_head.weight'} if tied else set()), (missing, unexpected)
    model.tie_weights()
    for batch_name, (ids, mask) in batches.items():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        out[f'logits.{model_name}.{batch_name}'] = torch.where(mask[..., None] == 1, logits, 0.0).contiguous()
save_file(out, 'qwen2.safetensors')
description = {
    'made_with': f'torch {torch.__version__}, transformers {transformers.__version__}',
    'common': {k: v for k, v in common.items() if isinstance(v, int | float) and not isinstance(v, bool)},
    'models': {k: {'tie_word_embeddings': tied, 'rope_theta': theta} for k, (tied, theta) in settings.items()},
    'batches': {k: {'ids': ids.tolist(), 'mask': mask.tolist()} for k, (ids, mask) in batches.items()},
}
with open('qwen2.json', 'w') as file:
    json.dump(description, file, indent=1)
    file.write('\n')
print({k: float(v.abs().max()) for k, v in out.items() if k.startswith('logits')})
