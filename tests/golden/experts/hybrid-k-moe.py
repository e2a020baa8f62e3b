# Golden values for the mixture-of-experts layer: hybrid-k (arXiv 2410.10626) and its relatives, forward and all gradients,
# written from the equations in PyTorch 2.13 double precision. Run in this folder: python hybrid-k-moe.py
#   p = softmax(W_r x);  S = top-k(p), the last of S replaced by L if L is not in S (forced only);
#   y = sum_j w_j * W_down(silu(W_gate x) * W_up x);  loss = <y, upstream> + a * balance + b * z.
import json
import torch

T, D, F, E, K = 9, 6, 10, 5, 2
torch.manual_seed(10626)
torch.set_default_dtype(torch.float64)


def draw(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).float().double()  # exactly representable in fp32


inputs = {'x': draw(T, D), 'router': draw(E, D, scale=0.7), 'upstream': draw(T, D)}
for e in range(E):
    inputs[f'experts.{e}.gate_proj'] = draw(F, D, scale=0.5)
    inputs[f'experts.{e}.up_proj'] = draw(F, D, scale=0.5)
    inputs[f'experts.{e}.down_proj'] = draw(D, F, scale=0.5)
inputs['shared.gate_proj'] = draw(F, D, scale=0.5)
inputs['shared.up_proj'] = draw(F, D, scale=0.5)
inputs['shared.down_proj'] = draw(D, F, scale=0.5)
inputs['shared.gate'] = draw(1, D, scale=0.5)
language = [0, 1, 2, 3, 4, 1, -1, 3, -1]
counted = [1, 1, 1, 1, 1, 1, 1, 1, 0]
BALANCE, Z, HINT = 0.3, 0.05, 1.5


def network(x, gate, up, down):
    h = x @ gate.T
    return (h * torch.sigmoid(h) * (x @ up.T)) @ down.T


def block(w, kind, mode, k, normalise, shared):
    x = w['x']
    z = x @ w['router'].T
    lang = torch.tensor(language)
    if mode == 'hinted':
        bonus = torch.zeros_like(z)
        for t in range(T):
            if language[t] >= 0:
                bonus[t, language[t]] = HINT
        p = torch.softmax(z + bonus, -1)
    else:
        p = torch.softmax(z, -1)
    chosen = torch.topk(p, k, dim=-1).indices.clone()
    if mode == 'forced':
        absent = (lang >= 0) & ~(chosen == lang[:, None]).any(-1)
        chosen[:, k - 1] = torch.where(absent, lang, chosen[:, k - 1])
    weight = p.gather(1, chosen)
    if kind == 'language' and mode == 'forced':
        weight = torch.where(lang[:, None] >= 0, torch.ones_like(weight), weight)
    if normalise:
        weight = weight / weight.sum(-1, keepdim=True)
    y = torch.zeros_like(x)
    for e in range(E):
        rows, slots = torch.nonzero(chosen == e, as_tuple=True)
        out = network(x[rows], *(w[f'experts.{e}.{n}_proj'] for n in ('gate', 'up', 'down')))
        y = y.index_add(0, rows, out * weight[rows, slots, None])
    if shared:
        out = network(x, *(w[f'shared.{n}_proj'] for n in ('gate', 'up', 'down')))
        y = y + torch.sigmoid(x @ w['shared.gate'].T) * out
    real = torch.tensor(counted).bool()
    f = torch.bincount(chosen[real].flatten(), minlength=E) / chosen[real].numel()
    balance = E * (f * p[real].mean(0)).sum()
    zloss = (torch.logsumexp(z[real], -1) ** 2).mean()
    loss = (y * w['upstream']).sum() + BALANCE * balance + Z * zloss
    return chosen, weight, p, y, balance, zloss, loss


cases = []
for name, kind, mode, k, normalise, shared in [
    ('forced, raw (the paper in training)', 'hybrid-k', 'forced', 2, False, False),
    ('forced, normalised', 'hybrid-k', 'forced', 2, True, False),
    ('free, raw (the paper at inference)', 'hybrid-k', 'free', 2, False, False),
    ('hinted, normalised, shared expert', 'hybrid-k', 'hinted', 2, True, True),
    ('free top-3, normalised', 'top-k', 'free', 3, True, False),
    ('language-specific with shared expert', 'language', 'forced', 1, False, True),
]:
    w = {n: v.clone().requires_grad_(n != 'upstream') for n, v in inputs.items()}
    chosen, weight, p, y, balance, zloss, loss = block(w, kind, mode, k, normalise, shared)
    loss.backward()
    gradients = {n: v.grad.flatten().tolist() for n, v in w.items() if v.grad is not None}
    cases.append({
        'name': name, 'kind': kind, 'mode': mode, 'k': k, 'normalise': normalise, 'shared': shared,
        'chosen': chosen.flatten().tolist(), 'gate': weight.flatten().tolist(), 'probabilities': p.flatten().tolist(),
        'y': y.flatten().tolist(), 'balance': balance.item(), 'z': zloss.item(), 'loss': loss.item(),
        'gradients': gradients,
    })


def rounded(value):
    if isinstance(value, float):
        return float(f'{value:.9g}')
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return {n: rounded(v) for n, v in value.items()} if isinstance(value, dict) else value


sizes = {'T': T, 'D': D, 'F': F, 'E': E, 'k': K, 'balance': BALANCE, 'z': Z, 'hint': HINT}
plain = {n: {'shape': list(v.shape), 'values': v.flatten().tolist()} for n, v in inputs.items()}
golden = {'sizes': sizes, 'language': language, 'counted': counted, 'inputs': plain, 'cases': cases}
with open('hybrid-k-moe.json', 'w') as file:
    json.dump(rounded(golden), file, separators=(',', ':'))
    file.write('\n')
