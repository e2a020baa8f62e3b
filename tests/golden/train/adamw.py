"""Golden for tests/train/optimizer.test.ts: torch.optim.AdamW over five steps.
Groups as the optimizer makes them: a trunk matrix (decay), a bias and a norm (no decay), a router (decay, ten times the
learning rate), an expert (decay, half the learning rate). Gradients are given, not computed. float32 on CPU.
Made with torch 2.13.0:  python tests/golden/train/adamw.py > tests/golden/train/adamw.json
"""
import json
import torch

torch.manual_seed(7)
shapes = {
    "model.layers.0.self_attn.q_proj.weight": ([3, 4], 0.1, 1.0),
    "model.layers.0.self_attn.q_proj.bias": ([3], 0.0, 1.0),
    "model.layers.0.input_layernorm.weight": ([4], 0.0, 1.0),
    "model.layers.1.mlp.gate.weight": ([2, 4], 0.1, 10.0),
    "model.layers.1.mlp.experts.0.up_proj.weight": ([2, 4], 0.1, 0.5),
}
learning_rates = [1e-3, 3e-3, 3e-3, 2e-3, 5e-4]
numbers = lambda t: [float(x) for x in t.flatten()]
parameters = {name: torch.nn.Parameter(torch.randn(shape)) for name, (shape, _, _) in shapes.items()}
initial = {name: numbers(p.detach()) for name, p in parameters.items()}
optimizer = torch.optim.AdamW(
    [{"params": [parameters[n]], "weight_decay": decay} for n, (_, decay, _) in shapes.items()],
    betas=(0.9, 0.999), eps=1e-8,
)
steps = []
for learning_rate in learning_rates:
    gradients = {}
    for (name, p), group in zip(parameters.items(), optimizer.param_groups):
        p.grad = torch.randn(p.shape) * 0.3
        gradients[name] = numbers(p.grad)
        group["lr"] = learning_rate * shapes[name][2]
    optimizer.step()
    steps.append({"learningRate": learning_rate, "gradients": gradients,
                  "after": {name: numbers(p.detach()) for name, p in parameters.items()}})
state = {name: {"exp_avg": numbers(optimizer.state[p]["exp_avg"]), "exp_avg_sq": numbers(optimizer.state[p]["exp_avg_sq"]),
                "step": float(optimizer.state[p]["step"])} for name, p in parameters.items()}
print(json.dumps({"shapes": {n: s[0] for n, s in shapes.items()}, "initial": initial, "steps": steps, "state": state}))
