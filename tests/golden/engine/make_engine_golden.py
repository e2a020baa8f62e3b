# Makes engine.json beside this file with PyTorch 2.13.0 on a CPU: python3 make_engine_golden.py
# Inputs are stored too, in float32, so that the tests read them and need no generator of their own.
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(20)


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().float().flatten().tolist()]


def attention():
    B, Sq, Sk, H, G, d = 2, 4, 6, 4, 2, 4
    q = torch.randn(B, Sq, H, d, requires_grad=True)
    k = torch.randn(B, Sk, G, d, requires_grad=True)
    v = torch.randn(B, Sk, G, d, requires_grad=True)
    dy = torch.randn(B, Sq, H, d)
    qs = torch.tensor([[0, 1, 1, 1], [3, 3, -1, -1]])
    ks = torch.tensor([[0, 0, 0, 1, 1, 1], [2, 2, 3, 3, -1, -1]])
    i = torch.arange(Sq)[:, None] + Sk - Sq
    allowed = (qs[:, :, None] == ks[:, None, :]) & (qs[:, :, None] >= 0) & (torch.arange(Sk)[None, :] <= i)
    k2 = k.repeat_interleave(H // G, 2).transpose(1, 2)
    v2 = v.repeat_interleave(H // G, 2).transpose(1, 2)
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k2, v2, attn_mask=allowed[:, None])
    out = torch.where(allowed.any(-1)[:, None, :, None], out, torch.zeros_like(out)).transpose(1, 2)
    out.backward(dy)
    return dict(shape=dict(B=B, Sq=Sq, Sk=Sk, H=H, G=G, d=d), q=flat(q), k=flat(k), v=flat(v), dy=flat(dy),
                querySegment=qs.flatten().tolist(), keySegment=ks.flatten().tolist(),
                out=flat(out), dq=flat(q.grad), dk=flat(k.grad), dv=flat(v.grad))


def rope():
    T, H, d, theta = 5, 2, 8, 10000.0
    x = torch.randn(T, H, d)
    position = torch.tensor([0, 1, 2, 0, 77])
    angle = position[:, None] * theta ** (-torch.arange(0, d, 2).double() / d)[None]
    cos, sin = torch.cat([angle.cos()] * 2, 1)[:, None], torch.cat([angle.sin()] * 2, 1)[:, None]
    turned = torch.cat([-x[..., d // 2:], x[..., : d // 2]], -1)
    return dict(shape=[T, H, d], theta=theta, position=position.tolist(), x=flat(x), y=flat(x * cos + turned * sin))


def cross_entropy():
    T, V = 6, 11
    logits = (3 * torch.randn(T, V)).requires_grad_()
    label = torch.tensor([3, -100, 0, 10, -100, 7])
    dy = torch.randn(T)
    loss = F.cross_entropy(logits, label, ignore_index=-100, reduction="none")
    loss.backward(dy)
    return dict(shape=[T, V], logits=flat(logits), label=label.tolist(), dy=flat(dy), loss=flat(loss), dlogits=flat(logits.grad))


def adamw():
    theta = torch.randn(7).requires_grad_()
    start = flat(theta)
    settings = dict(learningRate=0.02, beta1=0.9, beta2=0.95, epsilon=1e-8, weightDecay=0.1)
    optimizer = torch.optim.AdamW([theta], lr=0.02, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    gradients, steps = [], []
    for _ in range(5):
        theta.grad = torch.randn(7) * math.pi
        gradients.append(flat(theta.grad))
        optimizer.step()
        steps.append(flat(theta))
    state = optimizer.state[theta]
    return dict(settings=settings, start=start, gradients=gradients, steps=steps, m=flat(state["exp_avg"]), v=flat(state["exp_avg_sq"]))


def swiglu_and_norm():
    T, D = 3, 6
    x, u, w, dy = torch.randn(T, D, requires_grad=True), torch.randn(T, D, requires_grad=True), torch.randn(D, requires_grad=True), torch.randn(T, D)
    y = F.silu(x) * u
    dg, du = torch.autograd.grad(y, [x, u], dy)
    n = F.rms_norm(x, (D,), w, 1e-5)
    dx, dw = torch.autograd.grad(n, [x, w], dy)
    return dict(shape=[T, D], x=flat(x), u=flat(u), w=flat(w), dy=flat(dy), swiglu=flat(y), dgate=flat(dg), dup=flat(du),
                epsilon=1e-5, norm=flat(n), dx=flat(dx), dw=flat(dw))


golden = dict(torch=torch.__version__, attention=attention(), rope=rope(), crossEntropy=cross_entropy(), adamw=adamw(),
              swigluAndNorm=swiglu_and_norm())
pathlib.Path(__file__).with_name("engine.json").write_text(json.dumps(golden, indent=1) + "\n")
