# Golden values for the pooled balance loss of Mixtral and of the ApolloMoE code, from its definition, in PyTorch 2.13:
# all layers' tokens in one list, f[j, e] = share of counted tokens whose j-th choice is e, P[e] = mean probability of e,
# loss = E * sum over j and e of f[j, e] * P[e]; with its gradient in the logits. Run in this folder: python balance.py
import json
import torch

L, T, E, K = 3, 7, 4, 2
torch.manual_seed(7)
logits = [(torch.randn(T, E) * 1.5).float().double().requires_grad_() for _ in range(L)]
counted = [1, 1, 0, 1, 1, 1, 0]
p = torch.softmax(torch.cat(logits), -1)
real = torch.tensor(counted * L).bool()
choice = torch.nn.functional.one_hot(torch.topk(p, K, dim=-1).indices, E).double()
f = choice[real].mean(0)
loss = E * (f * p[real].mean(0)).sum()
loss.backward()
with open('balance.json', 'w') as file:
    json.dump({
        'tokens': T, 'experts': E, 'k': K, 'counted': counted,
        'logits': [z.flatten().tolist() for z in logits],
        'loss': loss.item(),
        'gradients': [[round(g, 12) for g in z.grad.flatten().tolist()] for z in logits],
    }, file, separators=(',', ':'))
    file.write('\n')
