# Training parity: twenty steps of torch.optim.AdamW in fp32 from qwen2-tied/ (dense) and from apollo/ (hybrid-k,
# forced), a new batch each step, gradients clipped to norm 1. Called by make.py after both folders exist.
# Weight decay as src/train/optimizer.ts has it by default: matrices and embeddings yes, biases and norms no.
# Writes training/<name>.json: settings, batches, and per step the loss and the norm of the gradient before clipping;
# and the norm of every parameter at the end. The same run in double says how far fp32 can be trusted.
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import apollo
import make as tools

STEPS, LEARNING_RATE, BETAS, EPSILON, DECAY, CLIP = 20, 2e-3, (0.9, 0.999), 1e-8, 0.1, 1.0
MOST_LOSS_DEVIATION = 2e-5


def load_dense():
    return AutoModelForCausalLM.from_pretrained(
        tools.HERE / 'qwen2-tied', attn_implementation='eager', dtype=torch.float32
    )


def load_apollo():
    model = apollo.build(apollo.base_config())
    model.load_state_dict(load_file(tools.HERE / 'apollo' / 'model.safetensors'))
    return model


def decays(name, parameter):
    return parameter.ndim >= 2 and not name.endswith('bias')


def optimiser_of(model):
    groups = [
        {'params': [p for n, p in model.named_parameters() if decays(n, p) == wanted], 'weight_decay': decay}
        for wanted, decay in ((True, DECAY), (False, 0.0))
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)


def train(model, batches):
    optimiser = optimiser_of(model)
    model.train()
    steps = []
    for batch in batches:
        if tools.routers_of(model):
            apollo.set_language(model, batch['language_expert'])
        optimiser.zero_grad()
        loss = apollo.loss_of(model, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        steps.append({'loss': float(loss.detach()), 'gradient_norm': float(norm)})
    return steps


def run(load, first_seed):
    """Tries seeds for the batches until fp32 and double agree: a choice that flips would spoil the comparison."""
    for seed in range(first_seed, first_seed + 50):
        generator = torch.Generator().manual_seed(seed)
        # A small part of the vocabulary, so that twenty steps learn something.
        batches = [apollo.training_batch(generator, 24) for _ in range(STEPS)]
        model = load()
        steps = train(model, batches)
        exact = train(load().double(), batches)
        off = max(abs(a['loss'] - b['loss']) for a, b in zip(steps, exact))
        print('    seed', seed, 'fp32 against double', off, 'loss', steps[0]['loss'], '→', steps[-1]['loss'])
        if off < MOST_LOSS_DEVIATION:
            return seed, batches, steps, off, model
    raise SystemExit('no seed will do')


def make():
    folder = tools.HERE / 'training'
    folder.mkdir(exist_ok=True)
    for name, load, first_seed in (('qwen2-tied', load_dense, 40000), ('apollo', load_apollo, 41000)):
        print('training', name)
        seed, batches, steps, off, model = run(load, first_seed)
        tools.write_json(folder / f'{name}.json', {
            'versions': tools.VERSIONS,
            'checkpoint': name,
            'seed': seed,
            'optimizer': {
                'learning_rate': LEARNING_RATE, 'beta1': BETAS[0], 'beta2': BETAS[1], 'epsilon': EPSILON,
                'weight_decay': DECAY, 'clip': CLIP,
                'decayed': [n for n, p in model.named_parameters() if decays(n, p)],
            },
            'loss_deviation_from_double': off,
            'batches': [{n: t.tolist() for n, t in batch.items()} for batch in batches],
            'steps': steps,
            'norms_after': {n: float(p.detach().norm()) for n, p in model.named_parameters()},
        }, None)
