# The usual ways of moving tokens to their experts and back, in PyTorch and in Triton, at the shapes of `moe bench dispatch`.
# PyTorch: stable sort of the expert ids; permute by index_select; combine by index_add_ into zeros (its order of additions is
# not fixed on a GPU) or by gathering [T, k, D] and summing; one-hot products. Triton: a program per row, the sum of a token's
# choices in their order. Every way is checked against float64 before anything is timed.
#   python bench/gpu/torch_dispatch.py --tokens 8192 --choices 2 --experts 8 --width 896 --load balanced --json
# Runs on the processor too (without Triton), so that it can be tried where no GPU is. fp32 throughout, products without TF32.
# Shapes: T tokens, D width, k choices, N = T·k rows, E experts, C rows of the fullest expert.
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

try:
    import torch
except ImportError as error:
    sys.exit(f'{sys.executable} cannot import torch ({error}); name a Python that has it.')
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

LOADS = ('balanced', 'zipf', 'one-hot', 'empty', 'burst')
BATCH_MS = 10
MOST_RUNS = 50
BEYOND_CACHES = 2 ** 28
MOST_SETS = 8
MOST_COLUMNS = 1024
ONE_HOT_BYTES = 8 * 2 ** 30


def arguments():
    whole_numbers = lambda text: [int(n) for n in text.split(',')]
    parser = argparse.ArgumentParser(description='Dispatch of tokens in PyTorch and Triton.')
    parser.add_argument('--tokens', type=whole_numbers, default=[1024, 4096])
    parser.add_argument('--experts', type=whole_numbers, default=[8])
    parser.add_argument('--choices', type=whole_numbers, default=[2])
    parser.add_argument('--width', type=whole_numbers, default=[896])
    parser.add_argument('--load', type=lambda text: text.split(','), default=['balanced'])
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=3)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--check', action='store_true', help='only compare every way with float64')
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    for load in options.load:
        if load not in LOADS:
            parser.error(f'--load {load} is not known; use {", ".join(LOADS)}')
    return options


OPTIONS = arguments()
DEVICE = torch.device(OPTIONS.device)
CUDA = DEVICE.type == 'cuda'
TRITON = triton is not None and (CUDA or os.environ.get('TRITON_INTERPRET') == '1')  # interpreted: for a try
torch.backends.cuda.matmul.allow_tf32 = False


def expert_ids(load, T, E, k, generator):
    """The loads of src/bench/loads.ts by the same rules; the draws are PyTorch's own."""
    def balanced(among, choices):
        place = torch.randperm(T, generator=generator)[:, None] * choices + torch.arange(choices)
        return torch.tensor(among, dtype=torch.int64)[place % len(among)]

    every = list(range(E))
    if load == 'balanced':
        ids = balanced(every, k)
    elif load == 'empty':
        order = every[0::2] + every[1::2]
        ids = balanced(order[:max(k, len(every[0::2]))], k)
    elif load == 'one-hot':
        first = torch.zeros(T, 1, dtype=torch.int64)
        ids = first if k == 1 else torch.cat((first, balanced(every[1:], k - 1)), 1)
    elif load == 'zipf':
        weight = (1 / torch.arange(1, E + 1, dtype=torch.float64)).expand(T, E)
        ids = torch.multinomial(weight, k, replacement=False, generator=generator)
    else:
        lengths = torch.randint(1, 513, (T,), generator=generator)
        run = torch.repeat_interleave(torch.arange(T), lengths)[:T]
        ids = torch.rand(T, E, generator=generator).argsort(1)[:, :k][run]
    return ids


def plan_by_sort(ids, E):
    """Token of each row, row of each slot, slot of each row and the experts' offsets; nothing is read by the host."""
    flat = ids.reshape(-1)
    sorted_ids, slot = torch.sort(flat, stable=True)
    inverse = torch.empty_like(slot)
    inverse[slot] = torch.arange(slot.numel(), device=slot.device)
    offsets = torch.searchsorted(sorted_ids, torch.arange(E + 1, device=slot.device))
    return dict(token=torch.div(slot, ids.shape[1], rounding_mode='floor'), inverse=inverse, slot=slot, offsets=offsets)


def permute(x, plan):
    return x.index_select(0, plan['token'])


def combine_by_gather(y, gate, plan):
    T, k = gate.shape
    return (y.index_select(0, plan['inverse']).view(T, k, -1) * gate[:, :, None]).sum(1)


def combine_by_bmm(y, gate, plan):
    T, k = gate.shape
    return torch.bmm(gate[:, None, :], y.index_select(0, plan['inverse']).view(T, k, -1)).squeeze(1)


def combine_by_index_add(y, gate, plan):
    weighted = y * gate.reshape(-1)[plan['slot'], None]
    return torch.zeros(gate.shape[0], y.shape[1], device=y.device, dtype=y.dtype).index_add_(0, plan['token'], weighted)


def permute_gradient_by_gather(dy, plan, k):
    return dy.index_select(0, plan['inverse']).view(-1, k, dy.shape[1]).sum(1)


def permute_gradient_by_index_add(dy, plan, k):
    return torch.zeros(dy.shape[0] // k, dy.shape[1], device=dy.device, dtype=dy.dtype).index_add_(0, plan['token'], dy)


def combine_gradient(y, gate, dout, plan):
    rows = dout.index_select(0, plan['token'])
    dgate_by_row = (rows * y).sum(1)
    return rows * gate.reshape(-1)[plan['slot'], None], dgate_by_row[plan['inverse']].view(gate.shape)


def one_hot_masks(ids, gate, plan, E):
    T, k = ids.shape
    capacity = int(plan['offsets'].diff().max())
    column = ids * capacity + (plan['inverse'].view(T, k) - plan['offsets'][ids])
    sends = torch.zeros(T, E * capacity, device=gate.device, dtype=gate.dtype).scatter_(1, column, 1)
    returns = torch.zeros_like(sends).scatter_(1, column, gate)
    return sends, returns


def dispatch_by_masks(x, sends, returns):
    return returns @ (sends.T @ x)


if triton is not None:
    @triton.jit
    def permute_kernel(x, token, y, D, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        source = tl.load(token + row).to(tl.int64)
        for start in range(0, D, BLOCK):
            d = start + tl.arange(0, BLOCK)
            tl.store(y + row * D + d, tl.load(x + source * D + d, mask=d < D), mask=d < D)

    @triton.jit
    def combine_kernel(y, inverse, gate, out, D, K: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr):
        t = tl.program_id(0).to(tl.int64)
        for start in range(0, D, BLOCK):
            d = start + tl.arange(0, BLOCK)
            total = tl.zeros((BLOCK,), dtype=tl.float32)
            for j in tl.static_range(K):
                row = tl.load(inverse + t * K + j).to(tl.int64)
                value = tl.load(y + row * D + d, mask=d < D)
                if GATED:
                    value = value * tl.load(gate + t * K + j)
                total += value
            tl.store(out + t * D + d, total, mask=d < D)

    @triton.jit
    def combine_gradient_kernel(y, slot, gate, dout, dy, dgate, D, K: tl.constexpr, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        n = tl.load(slot + row).to(tl.int64)
        g = tl.load(gate + n)
        total = tl.zeros((BLOCK,), dtype=tl.float32)
        for start in range(0, D, BLOCK):
            d = start + tl.arange(0, BLOCK)
            upstream = tl.load(dout + (n // K) * D + d, mask=d < D, other=0.0)
            tl.store(dy + row * D + d, g * upstream, mask=d < D)
            total += upstream * tl.load(y + row * D + d, mask=d < D, other=0.0)
        tl.store(dgate + n, tl.sum(total, axis=0))


def block_of(D):
    return min(1024, triton.next_power_of_2(D))


def triton_permute(x, token):
    y = torch.empty(token.numel(), x.shape[1], device=x.device, dtype=x.dtype)
    permute_kernel[(token.numel(),)](x, token, y, x.shape[1], BLOCK=block_of(x.shape[1]), num_warps=4)
    return y


def triton_combine(y, inverse, gate, gated=True):
    T, k = gate.shape
    out = torch.empty(T, y.shape[1], device=y.device, dtype=y.dtype)
    combine_kernel[(T,)](y, inverse, gate, out, y.shape[1], K=k, GATED=gated, BLOCK=block_of(y.shape[1]), num_warps=4)
    return out


def triton_combine_gradient(y, slot, gate, dout):
    dy, dgate = torch.empty_like(y), torch.empty_like(gate)
    D, k = y.shape[1], gate.shape[1]
    combine_gradient_kernel[(y.shape[0],)](y, slot, gate, dout, dy, dgate, D, K=k, BLOCK=block_of(D), num_warps=4)
    return dy, dgate


def draw(shape, generator):
    return torch.randn(*shape, generator=generator).to(DEVICE)


def prepared(T, E, k, D, load, sets=1):
    generator = torch.Generator().manual_seed(OPTIONS.seed)
    ids = expert_ids(load, T, E, k, generator).to(DEVICE)
    rows = [dict(x=draw((T, D), generator), dout=draw((T, D), generator), y=draw((T * k, D), generator),
                 dy=draw((T * k, D), generator)) for _ in range(sets)]
    gate = draw((T, k), generator).softmax(1)
    plan = plan_by_sort(ids, E)
    small = {name: value.to(torch.int32) for name, value in plan.items()}  # Triton reads half of the bytes
    return ids, rows, gate, plan, small


def ways(ids, gate, plan, small, E):
    """Every way by name: a function of one set of rows."""
    T, k = gate.shape
    out = {
        'plan by sort': lambda r: plan_by_sort(ids, E),
        'permute: index_select': lambda r: permute(r['x'], plan),
        'combine: gather, sum': lambda r: combine_by_gather(r['y'], gate, plan),
        'combine: gather, bmm': lambda r: combine_by_bmm(r['y'], gate, plan),
        'combine: index_add': lambda r: combine_by_index_add(r['y'], gate, plan),
        'dispatch: sort, index_select, gather, sum': lambda r: whole(r['x'], ids, gate, E),
        'gradient of permute: gather, sum': lambda r: permute_gradient_by_gather(r['dy'], plan, k),
        'gradient of permute: index_add': lambda r: permute_gradient_by_index_add(r['dy'], plan, k),
        'gradient of combine': lambda r: combine_gradient(r['y'], gate, r['dout'], plan),
    }
    if TRITON:
        out |= {
            'permute: triton': lambda r: triton_permute(r['x'], small['token']),
            'combine: triton': lambda r: triton_combine(r['y'], small['inverse'], gate),
            'dispatch: sort, triton': lambda r: whole_triton(r['x'], ids, gate, E),
            'gradient of permute: triton': lambda r: triton_combine(r['dy'], small['inverse'], gate, gated=False),
            'gradient of combine: triton': lambda r: triton_combine_gradient(r['y'], small['slot'], gate, r['dout']),
        }
    return out


def whole(x, ids, gate, E):
    plan = plan_by_sort(ids, E)
    return combine_by_gather(permute(x, plan), gate, plan)


def whole_triton(x, ids, gate, E):
    plan = plan_by_sort(ids, E)
    return triton_combine(triton_permute(x, plan['token']), plan['inverse'], gate)


def expected(r, ids, gate, E):
    """What each kind of way must answer, token by token in float64, from a plan made by counting."""
    T, k = ids.shape
    order = sorted(range(T * k), key=lambda n: (int(ids.reshape(-1)[n]), n))
    row_of = {n: row for row, n in enumerate(order)}
    x, y, dout, dy = (r[name].double().cpu() for name in ('x', 'y', 'dout', 'dy'))
    g = gate.double().cpu()
    rows = torch.tensor([row_of[n] for n in range(T * k)])
    token = torch.tensor([n // k for n in order])
    return {
        'permute': x[token],
        'combine': torch.stack([sum(g[t, j] * y[rows[t * k + j]] for j in range(k)) for t in range(T)]),
        'dispatch': x * g.sum(1, keepdim=True),
        'gradient of permute': torch.stack([sum(dy[rows[t * k + j]] for j in range(k)) for t in range(T)]),
        'gradient of combine': (torch.stack([g.reshape(-1)[n] * dout[n // k] for n in order]),
                                torch.tensor([[float(dout[t] @ y[rows[t * k + j]]) for j in range(k)] for t in range(T)])),
    }


def check():
    """Compares every way with float64 at small shapes; answers the largest error of each."""
    worst = {}
    for T, E, k, D, load in ((1, 1, 1, 4, 'balanced'), (33, 7, 3, 5, 'zipf'), (40, 8, 2, 130, 'empty'),
                             (20, 5, 2, 12, 'one-hot'), (600, 4, 1, 6, 'burst')):
        ids, [r], gate, plan, small = prepared(T, E, k, D, load)
        assert all(len(set(row)) == k for row in ids.tolist()), load
        wanted = expected(r, ids, gate, E)
        answers = {name: way(r) for name, way in ways(ids, gate, plan, small, E).items()}
        answers['dispatch: one-hot'] = dispatch_by_masks(r['x'], *one_hot_masks(ids, gate, plan, E))
        for name, answer in answers.items():
            want = wanted.get(name.split(':')[0])
            if want is None:
                continue
            pairs = zip(answer, want) if isinstance(want, tuple) else ((answer, want),)
            for got, right in pairs:
                error = float((got.double().cpu() - right).abs().max() / max(1.0, float(right.abs().max())))
                worst[name] = max(worst.get(name, 0), error)
                if not error < 2e-6:
                    sys.exit(f'{name} is wrong by {error:.1e} at T {T}, E {E}, k {k}, D {D}, {load}')
    return worst


def timed(way, sets):
    """Median, least and most milliseconds of one run: batches between CUDA events, as a CUDA graph where that can be had, so
    that no time of the host is in it."""
    run = [0]

    def once():
        run[0] += 1
        way(sets[run[0] % len(sets)])

    if not CUDA:
        ms = []
        for i in range(OPTIONS.warmup + OPTIONS.repeats):
            start = time.perf_counter()
            once()
            if i >= OPTIONS.warmup:
                ms.append((time.perf_counter() - start) * 1000)
        return summary(ms, 'clock')
    for _ in range(max(OPTIONS.warmup, len(sets))):
        once()
    runs = min(MOST_RUNS, max(len(sets), round(BATCH_MS / max(between(once), 1e-3))))
    batch, how = captured(once, runs)
    between(batch)
    return summary([between(batch) / runs for _ in range(OPTIONS.repeats)], how)


def captured(once, runs):
    def batch():
        for _ in range(runs):
            once()

    try:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            batch()
        return graph.replay, 'graph'
    except RuntimeError:  # it asks the host for something
        torch.cuda.synchronize()
        return batch, 'events'


def between(work):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def summary(ms, how):
    return dict(ms=ms, median=statistics.median(ms), min=min(ms), max=max(ms), how=how)


def bench(T, E, k, D, load):
    rows = 4 * T * D
    sets = min(MOST_SETS, -(-BEYOND_CACHES // rows)) if CUDA else 1
    ids, turns, gate, plan, small = prepared(T, E, k, D, load, sets)
    times = {name: timed(way, turns) for name, way in ways(ids, gate, plan, small, E).items()}
    floats = (1 + k) * T * D // 2
    buffers = [(torch.ones(floats, device=DEVICE), torch.ones(floats, device=DEVICE)) for _ in range(sets)]
    times['copy'] = timed(lambda pair: pair[1].copy_(pair[0]), buffers)
    del buffers
    skipped = {}
    columns = E * int(plan['offsets'].diff().max())
    if 4 * T * columns <= ONE_HOT_BYTES:
        sends, returns = one_hot_masks(ids, gate, plan, E)
        times['dispatch: one-hot'] = timed(lambda r: dispatch_by_masks(r['x'], sends, returns), turns)
        del sends, returns
    else:
        skipped['dispatch: one-hot'] = f'masks of {T} × {columns} take {4 * T * columns / 2 ** 30:.0f} GiB'
    F = min(D, MOST_COLUMNS)
    weights = draw((E, F, D), torch.Generator().manual_seed(1))
    starts = plan['offsets'].tolist()
    bounds = list(zip(starts, starts[1:]))
    times['product of the experts'] = timed(
        lambda r: [r['y'][start:end] @ weights[e].T for e, (start, end) in enumerate(bounds)], turns)
    times['one product'] = timed(lambda r: r['y'] @ weights[0].T, turns)
    moved = dict.fromkeys(('permute', 'combine', 'gradient of permute', 'copy'), (1 + k) * rows)
    moved |= {'dispatch': 2 * (1 + k) * rows, 'gradient of combine': (1 + 2 * k) * rows}
    rates = {name: moved[name.split(':')[0]] / time['median'] * 1000 for name, time in times.items()
             if name.split(':')[0] in moved}
    shape = dict(tokens=T, experts=E, choices=k, width=D, load=load, columns=F, sets=sets)
    return dict(shape, floorBytes=moved, times=times, bytesPerSecond=rates, skipped=skipped)


def machine():
    if not CUDA:
        return dict(device=platform.processor() or platform.machine(), driver=None)
    query = ['nvidia-smi', '--query-gpu=name,driver_version,clocks.sm,clocks.mem,temperature.gpu', '--format=csv,noheader']
    try:
        smi = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()
    except OSError:
        smi = None
    return dict(device=torch.cuda.get_device_name(), driver=smi)


def main():
    errors = check()
    results = []
    if not OPTIONS.check:
        for D in OPTIONS.width:
            for E in OPTIONS.experts:
                for k in OPTIONS.choices:
                    results += [bench(T, E, k, D, load) for T in OPTIONS.tokens for load in OPTIONS.load if k <= E]
    versions = dict(python=platform.python_version(), torch=torch.__version__,
                    triton=triton.__version__ if triton is not None else None, cuda=torch.version.cuda)
    result = dict(work='dispatch in torch', versions=versions, **machine(), triton=TRITON, errors=errors, results=results)
    print(json.dumps(result) if OPTIONS.json else text_of(result))


def text_of(result):
    lines = [f'{result["device"]}, {result["versions"]}', 'largest relative error of each way at small shapes:']
    lines += [f'  {name}: {error:.1e}' for name, error in result['errors'].items()]
    for each in result['results']:
        lines.append(f'{each["tokens"]} tokens x {each["width"]}, {each["choices"]} of {each["experts"]}, {each["load"]}')
        for name, time in each['times'].items():
            rate = each['bytesPerSecond'].get(name)
            lines.append(f'  {name:44} {time["median"]:9.4f} ms ({time["min"]:.4f} to {time["max"]:.4f}, {time["how"]})'
                         + (f'  {rate / 1e9:8.1f} GB/s' if rate else ''))
        lines += [f'  left out: {name}: {why}' for name, why in each['skipped'].items()]
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
