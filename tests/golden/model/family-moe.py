# Golden values of a whole two-layer model, one dense layer and one mixture layer, written from the equations in double
# precision: pre-norm Qwen2 block (RMSNorm, half-rotation RoPE, grouped-query attention with q/k/v biases, SwiGLU) and
#   p = softmax(W_r x);  S = top-k(p), its last replaced by the language's expert L where L is not in S (forced only);
#   y = sum_j w_j FFN_{S_j}(x), w_j = p_{S_j} or p_{S_j} / sum p_S  [+ sigmoid(v.x) FFN_shared(x)]
#   loss = mean cross-entropy + b * E sum_e f_e P_e + z * mean logsumexp^2        (f: share of slots; pooled: per token)
# and of 20 steps of torch.optim.AdamW with clipping and a warm-up-cosine schedule. Run here: python family-moe.py
# Writes family-moe.safetensors (weights, logits and gradients per case) and family-moe.json (cases, batches, losses).
import json
import math
import torch
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
torch.manual_seed(10626)
V, D, F, H, G, E, K, THETA, EPS = 16, 8, 8, 2, 1, 4, 2, 10_000.0, 1e-6
d = D // H
B, S = 2, 10


def draw(*shape, scale):
    return (torch.randn(*shape) * scale).float().double()  # exactly representable in fp32


def network_weights(at):
    return {
        f'{at}.gate_proj.weight': draw(F, D, scale=0.6),
        f'{at}.up_proj.weight': draw(F, D, scale=0.6),
        f'{at}.down_proj.weight': draw(D, F, scale=0.5),
    }


weights = {'model.embed_tokens.weight': draw(V, D, scale=0.8), 'model.norm.weight': 1 + draw(D, scale=0.2)}
for i in range(2):
    at = f'model.layers.{i}'
    for name in ('input_layernorm', 'post_attention_layernorm'):
        weights[f'{at}.{name}.weight'] = 1 + draw(D, scale=0.2)
    for name, width in (('q', D), ('k', G * d), ('v', G * d)):
        weights[f'{at}.self_attn.{name}_proj.weight'] = draw(width, D, scale=0.5)
        weights[f'{at}.self_attn.{name}_proj.bias'] = draw(width, scale=0.3)
    weights[f'{at}.self_attn.o_proj.weight'] = draw(D, D, scale=0.5)
weights |= network_weights('model.layers.0.mlp')
weights['model.layers.1.mlp.gate.weight'] = draw(E, D, scale=0.5)
for e in range(E):
    weights |= network_weights(f'model.layers.1.mlp.experts.{e}')
weights |= network_weights('model.layers.1.mlp.shared_expert')
weights['model.layers.1.mlp.shared_expert_gate.weight'] = draw(1, D, scale=0.5)
weights['lm_head.weight'] = draw(V, D, scale=0.5)


def make_batch():
    """Row 0: a document of 6 and one of 4. Row 1: a document of 7, then padding. Labels are the next id of the document."""
    ids = torch.randint(0, V, (B, S))
    segment = torch.tensor([[0] * 6 + [1] * 4, [2] * 7 + [-1] * 3])
    position = torch.tensor([[*range(6), *range(4)], [*range(7), 0, 0, 0]])
    language = torch.tensor([3, 1, -1])[segment.clamp(min=0)]
    language[segment < 0] = -1
    label = torch.full((B, S), -100)
    same = segment[:, :-1] == segment[:, 1:]
    label[:, :-1] = torch.where(same & (segment[:, :-1] >= 0), ids[:, 1:], -100)
    return {'ids': ids, 'segment': segment, 'position': position, 'expert': language, 'label': label}


def rms_norm(x, w):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * w


def rotate(x, position):
    """x [B, S, heads, d]"""
    half = d // 2
    angle = position[..., None] * THETA ** (-torch.arange(half) * 2.0 / d)
    cos, sin = angle.cos()[:, :, None], angle.sin()[:, :, None]
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def attend(x, w, at, batch):
    def project(name, heads):
        y = x @ w[f'{at}.{name}_proj.weight'].T + w[f'{at}.{name}_proj.bias']
        return y.reshape(B, S, heads, d)

    q = rotate(project('q', H), batch['position'])
    k = rotate(project('k', G), batch['position'])
    v = project('v', G)
    out = torch.zeros(B, S, H, d)
    rows = []
    for b in range(B):
        for i in range(S):
            own = batch['segment'][b, i]
            seen = [j for j in range(i + 1) if own >= 0 and batch['segment'][b, j] == own]
            heads = []
            for h in range(H):
                if not seen:
                    heads.append(torch.zeros(d))
                    continue
                g = h // (H // G)
                p = torch.softmax(k[b, seen, g] @ q[b, i, h] / math.sqrt(d), 0)
                heads.append(p @ v[b, seen, g])
            rows.append(torch.cat(heads))
    return torch.stack(rows).reshape(B, S, D) @ w[f'{at}.o_proj.weight'].T


def network(x, w, at):
    gate = x @ w[f'{at}.gate_proj.weight'].T
    return (gate * torch.sigmoid(gate) * (x @ w[f'{at}.up_proj.weight'].T)) @ w[f'{at}.down_proj.weight'].T


def mixture(x, w, at, batch, case):
    """x [T, D] -> y, auxiliary loss, the margin by which the k-th choice won"""
    counted = (batch['segment'] >= 0).flatten()
    z = x @ w[f'{at}.gate.weight'].T
    p = torch.softmax(z, -1)
    order = torch.sort(p, -1, descending=True)
    margin = (order.values[:, :-1] - order.values[:, 1:])[counted][:, :K].min()
    chosen = order.indices[:, :K].clone()
    if case['mode'] == 'forced':
        own = batch['expert'].flatten()
        absent = (own >= 0) & ~(chosen == own[:, None]).any(-1)
        chosen[:, K - 1] = torch.where(absent, own, chosen[:, K - 1])
    gates = p.gather(1, chosen)
    if case['normalise']:
        gates = gates / gates.sum(-1, keepdim=True)
    y = torch.zeros_like(x)
    for j in range(K):
        for t in range(len(x)):
            e = int(chosen[t, j])
            y = y.index_add(0, torch.tensor([t]), (gates[t, j] * network(x[t], w, f'{at}.experts.{e}'))[None])
    if case['shared']:
        y = y + torch.sigmoid(x @ w[f'{at}.shared_expert_gate.weight'].T) * network(x, w, f'{at}.shared_expert')
    mean_p = p[counted].mean(0)
    if case['scope'] == 'layer':
        f = torch.bincount(chosen[counted].flatten(), minlength=E) / (K * counted.sum())
    else:  # the router's own top-k, per token
        f = torch.bincount(order.indices[:, :K][counted].flatten(), minlength=E) / counted.sum()
    balance = E * (f * mean_p).sum()
    z_loss = (torch.logsumexp(z, -1) ** 2)[counted].mean()
    return y, case['balance'] * balance + case['z'] * z_loss, margin


def run(w, batch, case):
    x = w['model.embed_tokens.weight'][batch['ids']]
    auxiliary, margin = 0.0, 0.0
    for i in range(2):
        at = f'model.layers.{i}'
        x = x + attend(rms_norm(x, w[f'{at}.input_layernorm.weight']), w, f'{at}.self_attn', batch)
        normed = rms_norm(x, w[f'{at}.post_attention_layernorm.weight'])
        if i == 0:
            x = x + network(normed, w, f'{at}.mlp')
        else:
            y, auxiliary, margin = mixture(normed.reshape(B * S, D), w, f'{at}.mlp', batch, case)
            x = x + y.reshape(B, S, D)
    head = w['lm_head.weight'] if 'lm_head.weight' in w else w['model.embed_tokens.weight']
    logits = rms_norm(x, w['model.norm.weight']) @ head.T
    loss = torch.nn.functional.cross_entropy(logits.reshape(B * S, V), batch['label'].flatten(), ignore_index=-100)
    return logits, loss, auxiliary, margin


def own_weights(case):
    keep = {k: v for k, v in weights.items() if case['shared'] or 'shared_expert' not in k}
    return {k: v.clone().requires_grad_() for k, v in keep.items() if not (case['tied'] and k == 'lm_head.weight')}


def plain(mode, normalise, **more):
    case = dict(mode=mode, normalise=normalise, shared=False, tied=False, scope='layer', balance=0.0, z=0.0)
    return case | more


cases = {
    'forced-raw': plain('forced', False),
    'forced-normalised': plain('forced', True),
    'free-raw': plain('free', False, tied=True),
    'free-normalised': plain('free', True),
    'losses-and-shared': plain('forced', False, shared=True, balance=0.3, z=0.05),
    'pooled': plain('forced', True, scope='pooled', balance=0.3, tied=True),
}
out = {name: tensor.float() for name, tensor in weights.items()}
described = {}
first = make_batch()
for name, case in cases.items():
    w = own_weights(case)
    logits, loss, auxiliary, margin = run(w, first, case)
    (loss + auxiliary).backward()
    real = (first['segment'] >= 0)[..., None]
    out[f'{name}/logits'] = torch.where(real, logits, 0.0).detach().float()
    for key, tensor in w.items():
        out[f'{name}/gradient/{key}'] = tensor.grad.float()
    described[name] = case | {'loss': loss.item(), 'auxiliary': auxiliary.item(), 'margin': margin.item()}

# 20 steps: AdamW, decay 0.1 on matrices and embeddings only, clip 1, warm-up of 3 updates, then cosine to a tenth.
STEPS, WARM, PEAK, FINAL = 20, 3, 0.02, 0.1
batches = [make_batch() for _ in range(4)]
training = {}
for name in ('forced-raw', 'losses-and-shared'):
    case = cases[name]
    w = own_weights(case)
    decayed = [t for k, t in w.items() if not k.endswith('norm.weight') and not k.endswith('bias')]
    others = [t for k, t in w.items() if k.endswith('norm.weight') or k.endswith('bias')]
    groups = [{'params': decayed, 'weight_decay': 0.1}, {'params': others, 'weight_decay': 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95), eps=1e-8)
    losses, norms, margins = [], [], []
    for step in range(1, STEPS + 1):
        progress = (step - WARM) / (STEPS - WARM)
        rate = PEAK * step / WARM if step < WARM else PEAK * (FINAL + (1 - FINAL) * (1 + math.cos(math.pi * progress)) / 2)
        for group in optimizer.param_groups:
            group['lr'] = rate
        optimizer.zero_grad()
        _, loss, auxiliary, margin = run(w, batches[(step - 1) % len(batches)], case)
        (loss + auxiliary).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(w.values(), 1.0)))
        optimizer.step()
        losses.append(loss.item())
        margins.append(margin.item())
    out[f'trained/{name}/router'] = w['model.layers.1.mlp.gate.weight'].detach().float()
    training[name] = {'losses': losses, 'norms': norms, 'margin': min(margins)}
save_file({k: v.contiguous() for k, v in out.items()}, 'family-moe.safetensors')


def listed(batch):
    return {k: v.flatten().tolist() for k, v in batch.items()}


description = {
    'made_with': f'torch {torch.__version__}',
    'sizes': dict(V=V, D=D, F=F, H=H, G=G, E=E, K=K, B=B, S=S, theta=THETA, epsilon=EPS),
    'cases': described,
    'batch': listed(first),
    'training': {'steps': STEPS, 'warmup': WARM, 'peak': PEAK, 'final': FINAL, 'beta2': 0.95, 'runs': training},
    'batches': [listed(batch) for batch in batches],
}
with open('family-moe.json', 'w') as file:
    json.dump(description, file)
    file.write('\n')
print(json.dumps({'cases': described, 'training': training}, indent=1))
