# The work of `moe bench` in PyTorch: the same models, steps, settings and output, so that the two can be compared.
# Pre-norm Qwen2 blocks (RMSNorm, half-rotation RoPE, grouped queries with q/k/v biases, SwiGLU); the last layers may be
# mixtures of experts, run as transformers does: a loop over the experts, index_add_ of each one's rows.
# Needs torch (2.x, or Debian's 1.13) and nothing else; numpy is timed too where it is installed.
#   python bench/torch_baseline.py train --model post-moe --threads 2 --json
# Shapes: B sequences of S positions, T tokens, D width, F feed-forward width, E experts, k per token, V vocabulary.
import argparse
import json
import os
import platform
import resource
import statistics
import struct
import sys
import time

THREAD_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')

DENSE = dict(layers=6, width=256, heads=8, keyValueHeads=8, feedForward=1024, vocabulary=8192, tied=False,
             ropeTheta=10000, moeLayers=0, experts=0, expertWidth=0, expertsPerToken=0, batch=8, sequence=128)
POST_MOE = dict(DENSE, moeLayers=2, experts=7, expertWidth=512, expertsPerToken=2)
TRAINING = {
    'dense': DENSE,
    'post-moe': POST_MOE,
    'post-moe-64': dict(POST_MOE, experts=64),
    'tiny': dict(POST_MOE, layers=2, width=32, heads=4, keyValueHeads=2, feedForward=64, vocabulary=50, moeLayers=1,
                 experts=4, expertWidth=24, batch=2, sequence=16),
}
OPTIMIZER = dict(learningRate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weightDecay=0.1, clip=1)
INFERENCE = {
    'qwen2-0.5b': dict(DENSE, layers=24, width=896, heads=14, keyValueHeads=2, feedForward=4864, vocabulary=151936,
                       tied=True, ropeTheta=1000000, batch=1),
    'tiny': dict(TRAINING['tiny'], moeLayers=0, experts=0, expertWidth=0, expertsPerToken=0, tied=True, batch=1),
}


def layer_shape(tokens):
    return dict(tokens=tokens, width=256, expertWidth=1024, experts=8, expertsPerToken=2)


def arguments():
    parser = argparse.ArgumentParser(description='The work of `moe bench` in PyTorch.')
    works = parser.add_subparsers(dest='work', required=True)
    for name in ('train', 'moe', 'infer', 'gemm'):
        work = works.add_parser(name)
        work.add_argument('--threads', type=int, default=os.cpu_count())
        work.add_argument('--warmup', type=int, default=3)
        work.add_argument('--seed', type=int, default=0)
        work.add_argument('--json', action='store_true')
        if name != 'gemm':
            work.add_argument('--load', help='weights and inputs that `moe bench --save` wrote')
        if name == 'train':
            work.add_argument('--model', choices=TRAINING, default='dense')
            work.add_argument('--steps', type=int, default=10)
            work.add_argument('--adamw', choices=('auto', 'fused', 'foreach', 'loop'), default='auto',
                              help='implementation of torch.optim.AdamW; auto: fused where torch has it for CPUs')
        else:
            work.add_argument('--repeats', type=int, default=5 if name == 'infer' else 10)
        if name in ('moe', 'infer'):
            work.add_argument('--tokens', type=int, default=4096 if name == 'moe' else 128)
        if name == 'infer':
            work.add_argument('--model', choices=INFERENCE, default='qwen2-0.5b')
            work.add_argument('--layers', type=int)
        if name == 'gemm':
            work.add_argument('--sizes', type=lambda text: [int(n) for n in text.split(',')], default=[512, 1024, 2048])
    return parser.parse_args()


OPTIONS = arguments()
for variable in THREAD_VARIABLES:  # read when the libraries load
    os.environ[variable] = str(OPTIONS.threads)
try:
    import torch
except ImportError as error:
    sys.exit(f'{sys.executable} cannot import torch ({error}); install it with: pip install torch, or apt install python3-torch.')
import torch.nn as nn
import torch.nn.functional as F

if not hasattr(F, 'rms_norm'):  # before 2.4
    def rms_norm(x, shape, weight, epsilon):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight
else:
    rms_norm = F.rms_norm

if not hasattr(F, 'scaled_dot_product_attention'):  # before 2.0
    def causal_attention(q, k, v):
        hidden = torch.full((q.shape[2], k.shape[2]), -float('inf')).triu(1)
        return (q @ k.transpose(2, 3) / q.shape[3] ** 0.5 + hidden).softmax(-1) @ v
else:
    def causal_attention(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return rms_norm(x, (x.shape[-1],), self.weight, 1e-6)


class FeedForward(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Mixture(nn.Module):
    """Free top-k over softmax probabilities, gates divided by their sum."""

    def __init__(self, width, inner, experts, k):
        super().__init__()
        self.k = k
        self.gate = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(width, inner) for _ in range(experts))

    def forward(self, x):
        x_TD = x.reshape(-1, x.shape[-1])
        gate_TK, expert_TK = self.gate(x_TD).softmax(-1).topk(self.k, dim=-1)
        gate_TK = gate_TK / gate_TK.sum(-1, keepdim=True)
        chosen_EKT = F.one_hot(expert_TK, len(self.experts)).permute(2, 1, 0)
        y_TD = torch.zeros_like(x_TD)
        for e in chosen_EKT.sum((1, 2)).nonzero().flatten().tolist():
            slot_N, token_N = torch.where(chosen_EKT[e])
            rows_ND = self.experts[e](x_TD[token_N]) * gate_TK[token_N, slot_N, None]
            y_TD.index_add_(0, token_N, rows_ND)
        return y_TD.reshape(x.shape)


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        D, self.H, self.G = shape['width'], shape['heads'], shape['keyValueHeads']
        self.d = D // self.H
        self.q_proj = nn.Linear(D, D)
        self.k_proj = nn.Linear(D, self.G * self.d)
        self.v_proj = nn.Linear(D, self.G * self.d)
        self.o_proj = nn.Linear(D, D, bias=False)

    def forward(self, x, cos, sin):
        B, S, D = x.shape
        heads = lambda y, count: y.view(B, S, count, self.d).transpose(1, 2)
        q = turned(heads(self.q_proj(x), self.H), cos, sin)
        k = turned(heads(self.k_proj(x), self.G), cos, sin)
        v = heads(self.v_proj(x), self.G)
        if self.G < self.H:
            k, v = (y.repeat_interleave(self.H // self.G, dim=1) for y in (k, v))
        return self.o_proj(causal_attention(q, k, v).transpose(1, 2).reshape(B, S, D))


def turned(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Block(nn.Module):
    def __init__(self, shape, sparse):
        super().__init__()
        D = shape['width']
        self.input_layernorm = RmsNorm(D)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RmsNorm(D)
        if sparse:
            self.mlp = Mixture(D, shape['expertWidth'], shape['experts'], shape['expertsPerToken'])
        else:
            self.mlp = FeedForward(D, shape['feedForward'])

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        D, L = shape['width'], shape['layers']
        self.embed_tokens = nn.Embedding(shape['vocabulary'], D)
        self.layers = nn.ModuleList(Block(shape, i >= L - shape['moeLayers']) for i in range(L))
        self.norm = RmsNorm(D)
        d = D // shape['heads']
        angle = torch.outer(torch.arange(shape['sequence']), 1.0 / shape['ropeTheta'] ** (torch.arange(0, d, 2) / d))
        self.angle = torch.cat((angle, angle), dim=-1)
        self.cos, self.sin = self.angle.cos(), self.angle.sin()

    def forward(self, ids):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return self.norm(x)


class Model(nn.Module):
    """Parameter names are those of Hugging Face, and of `moe`."""

    def __init__(self, shape):
        super().__init__()
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape['width'], shape['vocabulary'], bias=False)
        if shape['tied']:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, ids):
        return self.lm_head(self.model(ids))


def build(make):
    """A module with fresh weights as `moe` draws them: norms 1, biases 0, the rest N(0, 0.02)."""
    initial = torch.nn.init
    reset = {cls: cls.reset_parameters for cls in (nn.Linear, nn.Embedding)}
    for cls in reset:
        cls.reset_parameters = lambda self: None
    module = make()
    for cls, method in reset.items():
        cls.reset_parameters = method
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith('bias'):
                initial.zeros_(parameter)
            elif not name.endswith('norm.weight'):
                initial.normal_(parameter, std=0.02)
    return module


def read_safetensors(path):
    kinds = {'F32': torch.float32, 'I32': torch.int32}
    with open(path, 'rb') as file:
        header = json.loads(file.read(struct.unpack('<Q', file.read(8))[0]))
        start = file.tell()
        tensors = {}
        for name, entry in header.items():
            if name == '__metadata__':
                continue
            begin, end = entry['data_offsets']
            file.seek(start + begin)
            data = torch.frombuffer(bytearray(file.read(end - begin)), dtype=kinds[entry['dtype']])
            tensors[name] = data.reshape(entry['shape'])
    return tensors


def load(module, tensors):
    """Takes every parameter from the file; a name or shape that does not fit ends the program."""
    state = {name: parameter for name, parameter in module.named_parameters()}
    if set(state) != set(tensors):
        sys.exit(f'The file is of another model: {sorted(set(state) ^ set(tensors))[:4]} are on one side only.')
    with torch.no_grad():
        for name, parameter in state.items():
            parameter.copy_(tensors[name])  # refuses another shape


def timed(work, repeats, before=lambda: None):
    ms = []
    for i in range(OPTIONS.warmup + repeats):
        before()
        start = time.perf_counter()
        work()
        if i >= OPTIONS.warmup:
            ms.append((time.perf_counter() - start) * 1000)
    return ms


def summary(name, ms, operations, tokens=None):
    median = statistics.median(ms)
    timing = dict(name=name, ms=ms, median=median, min=min(ms), max=max(ms), gflop=operations / 1e9,
                  gflopPerSecond=operations / 1e6 / median)
    return timing if tokens is None else dict(timing, tokensPerSecond=tokens / median * 1000)


def model_operations(shape, passes):
    """2mkn for each product, causal attention by the pairs that are seen; the same count as src/bench/work.ts."""
    D, S, L = shape['width'], shape['sequence'], shape['layers']
    tokens = shape['batch'] * S
    attention = 2 * D * D + 2 * D * D * shape['keyValueHeads'] / shape['heads']
    sparse = D * shape['experts'] + shape['expertsPerToken'] * 3 * D * shape['expertWidth']
    dense = 3 * D * shape['feedForward']
    per_token = L * attention + (L - shape['moeLayers']) * dense + shape['moeLayers'] * sparse + D * shape['vocabulary']
    return passes * 2 * (tokens * per_token + L * shape['batch'] * S * (S + 1) / 2 * 2 * D)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def new_optimizer(model):
    """Weight decay on matrices alone, as `moe train` does. Returns the optimizer and the implementation taken."""
    groups = [
        dict(params=[p for p in model.parameters() if p.ndim >= 2], weight_decay=OPTIMIZER['weightDecay']),
        dict(params=[p for p in model.parameters() if p.ndim < 2], weight_decay=0.0),
    ]
    settings = dict(lr=OPTIMIZER['learningRate'], betas=(OPTIMIZER['beta1'], OPTIMIZER['beta2']), eps=OPTIMIZER['epsilon'])
    ways = ['fused', 'loop'] if OPTIONS.adamw == 'auto' else [OPTIONS.adamw]
    for way in ways:
        try:
            return torch.optim.AdamW(groups, **settings, **({} if way == 'loop' else {way: True})), way
        except (RuntimeError, TypeError):
            if way == ways[-1]:
                raise


def bench_train():
    shape = TRAINING[OPTIONS.model]
    model = build(lambda: Model(shape))
    B, S, V = shape['batch'], shape['sequence'], shape['vocabulary']
    steps = OPTIONS.warmup + OPTIONS.steps
    if OPTIONS.load:
        tensors = read_safetensors(OPTIONS.load)
        ids = tensors.pop('token_ids').long()
        load(model, tensors)
        if len(ids) < steps:
            sys.exit(f'{OPTIONS.load} has the tokens of {len(ids)} steps, not of {steps}; write it with as many.')
    else:
        ids = torch.randint(0, V, (steps, B, S + 1))
    optimizer, adamw = new_optimizer(model)
    losses = []

    def step():
        batch = ids[len(losses)]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[:, :-1]).reshape(-1, V), batch[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER['clip'])
        optimizer.step()
        losses.append(loss.item())

    ms = timed(step, OPTIONS.steps)
    timing = summary('training step', ms, model_operations(shape, 3), B * S)
    return dict(shape=dict(shape, **OPTIMIZER), parameters=count(model), adamw=adamw, timings=[timing], values=losses)


def bench_moe():
    shape = layer_shape(OPTIONS.tokens)
    T, D, X, E, k = (shape[key] for key in ('tokens', 'width', 'expertWidth', 'experts', 'expertsPerToken'))
    layer = build(lambda: Mixture(D, X, E, k))
    x, dy = torch.randn(T, D), torch.randn(T, D)
    if OPTIONS.load:
        tensors = read_safetensors(OPTIONS.load)
        x, dy = tensors.pop('x'), tensors.pop('dy')
        load(layer, tensors)
    x.requires_grad_()
    outputs = []

    def forget():
        x.grad = None
        layer.zero_grad(set_to_none=True)

    def run():
        y = layer(x)
        y.backward(dy)
        outputs[:] = [y.detach()]

    ms = timed(run, OPTIONS.repeats, forget)
    values = [tensor.square().mean().item() for tensor in (outputs[0], x.grad, layer.gate.weight.grad)]
    timing = summary('moe layer', ms, 3 * 2 * T * (D * E + k * 3 * D * X), T)
    return dict(shape=shape, parameters=count(layer), timings=[timing], values=values)


def bench_infer():
    shape = dict(INFERENCE[OPTIONS.model], sequence=OPTIONS.tokens)
    shape['layers'] = OPTIONS.layers or shape['layers']
    model = build(lambda: Model(shape))
    ids = torch.randint(0, shape['vocabulary'], (1, OPTIONS.tokens + 1))
    if OPTIONS.load:
        tensors = read_safetensors(OPTIONS.load)
        ids = tensors.pop('token_ids')[0].long()
        load(model, tensors)
    last = []

    def run():
        with torch.no_grad():
            last[:] = [model(ids[:, :-1])[0, -1]]

    ms = timed(run, OPTIONS.repeats)
    timing = summary('forward pass', ms, model_operations(shape, 1), OPTIONS.tokens)
    return dict(shape=shape, parameters=count(model), timings=[timing], values=[last[0].square().mean().item()])


def bench_gemm():
    return dict(shape=dict(sizes=OPTIONS.sizes), timings=products(torch.randn, torch.mm), others=numpy_products())


def products(draw, multiply):
    timings = []
    for n in OPTIONS.sizes:
        a, b = draw(n, n), draw(n, n)
        for transposes in ('NN', 'NT', 'TN', 'TT'):
            left, right = (m.T if letter == 'T' else m for m, letter in zip((a, b), transposes))
            ms = timed(lambda: multiply(left, right), OPTIONS.repeats)
            timings.append(summary(f'{n} {transposes}', ms, 2 * n ** 3))
    return timings


def numpy_products():
    try:
        import numpy
    except ImportError:
        return {}
    generator = numpy.random.default_rng(OPTIONS.seed)
    draw = lambda *sizes: generator.standard_normal(sizes, dtype=numpy.float32)
    return {f'numpy {numpy.__version__}': products(draw, numpy.matmul)}


def main():
    torch.set_num_threads(OPTIONS.threads)
    torch.manual_seed(OPTIONS.seed)
    measured = {'train': bench_train, 'moe': bench_moe, 'infer': bench_infer, 'gemm': bench_gemm}[OPTIONS.work]()
    used = resource.getrusage(resource.RUSAGE_SELF)
    capability = getattr(torch.backends, 'cpu', None)
    capability = capability.get_cpu_capability() if hasattr(capability, 'get_cpu_capability') else 'unknown'
    blas = 'MKL' if torch.backends.mkl.is_available() else 'another BLAS'
    adamw = f', AdamW {measured["adamw"]}' if 'adamw' in measured else ''
    result = dict(
        work=OPTIONS.work + (f' {OPTIONS.model}' if hasattr(OPTIONS, 'model') else ''),
        versions=dict(python=platform.python_version(), torch=torch.__version__),
        machine=f'{platform.system().lower()} {platform.machine()}, {os.cpu_count()} processors',
        backend=dict(name='torch', why=f'CPU capability {capability}, {blas}{adamw}.'),
        threads=torch.get_num_threads(),
        seed=OPTIONS.seed,
        warmup=OPTIONS.warmup,
        **measured,
        peakBytes=used.ru_maxrss * (1 if sys.platform == 'darwin' else 1024),
        processorSeconds=used.ru_utime + used.ru_stime,
    )
    print(json.dumps(result) if OPTIONS.json else text(result))


def text(result):
    lines = [f'torch_baseline {result["work"]}: {result["shape"]}, {result.get("parameters", "no")} parameters',
             f'{result["versions"]}; {result["machine"]}; {result["threads"]} threads. {result["backend"]["why"]}']
    rows = [('torch', timing) for timing in result['timings']]
    rows += [(name, timing) for name, timings in result.get('others', {}).items() for timing in timings]
    for who, timing in rows:
        tokens = f', {timing["tokensPerSecond"]:.0f} tokens/s' if 'tokensPerSecond' in timing else ''
        lines.append(f'  {who} {timing["name"]}: median {timing["median"]:.2f} ms ({timing["min"]:.2f} to '
                     f'{timing["max"]:.2f}), {timing["gflopPerSecond"]:.1f} GFLOP/s{tokens}')
    if 'values' in result:
        lines.append('  values: ' + ' '.join(f'{value:.6g}' for value in result['values']))
    return '\n'.join(lines + [f'  peak memory {result["peakBytes"] / 2 ** 20:.0f} MiB'])


if __name__ == '__main__':
    main()
