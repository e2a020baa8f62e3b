"""Language rows, entropies, information, divergences, overlap and resampling of seeded counts by numpy and scipy.

    python rows.py > rows.json        # numpy, scipy
"""
import itertools
import json
import sys
import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import bootstrap, entropy, hypergeom

random = np.random.default_rng(11)
items, languages, layers, experts, k = 40, 3, 3, 5, 2
base = random.dirichlet(np.full(experts, 2.0), (layers, languages))
tokens = random.integers(5, 25, (items, languages))
count = np.zeros((layers, items, languages, experts), int)
for l, i, a in itertools.product(range(layers), range(items), range(languages)):
    count[l, i, a] = random.multinomial(k * tokens[i, a], random.dirichlet(6 * base[l, a]))


def rows(counts, averaging):  # [L, I, n, E] -> [L, n, E]
    if averaging == "documents":
        return (counts / counts.sum(-1, keepdims=True)).mean(1)
    pooled = counts.sum(1)
    return pooled / pooled.sum(-1, keepdims=True)


def information(q):  # [L, n, E] -> [L]
    return entropy(q.mean(1), axis=-1) - entropy(q, axis=-1).mean(-1)


out = {"shape": [items, languages, layers, experts, k], "lengths": tokens.tolist(), "count": count.tolist()}
for averaging in ("documents", "tokens"):
    q = rows(count, averaging)
    out[averaging] = {
        "q": q.tolist(),
        "entropy": entropy(q, axis=-1).tolist(),
        "information": information(q).tolist(),
        "distance": [[jensenshannon(p, q[l, 0], base=2) for p in q[l]] for l in range(layers)],
        "hjs": [
            [jensenshannon(p, q[l, 0]) ** 2 / (np.log(experts) - (entropy(p) + entropy(q[l, 0])) / 2) for p in q[l]]
            for l in range(layers)
        ],
        "overlap": [
            float(np.mean([np.minimum(a, b).sum() for a, b in itertools.combinations(q[l], 2)])) for l in range(layers)
        ],
        "nodes": [int(np.searchsorted(np.cumsum(np.sort(q[l].mean(0))[::-1]), 0.5 - 1e-12) + 1) for l in range(layers)],
    }

whole = information(rows(count, "documents"))
without = np.array([information(rows(np.delete(count, i, axis=1), "documents")) for i in range(items)])
mean = without.mean(0)
out["jackknife"] = {
    "estimate": (whole - (items - 1) * (mean - whole)).tolist(),
    "se": np.sqrt((items - 1) / items * ((without - mean) ** 2).sum(0)).tolist(),
}
basic = bootstrap(
    (np.arange(items),), lambda pick: information(rows(count[:, pick.astype(int)], "documents")),
    method="basic", n_resamples=20000, vectorized=False, rng=12,
)
out["bootstrap"] = {"low": basic.confidence_interval.low.tolist(), "high": basic.confidence_interval.high.tolist()}
nulls = []
for _ in range(5000):
    order = np.argsort(random.random((items, languages)), axis=1)
    nulls.append(information(rows(np.take_along_axis(count, order[None, :, :, None], axis=2), "documents")))
out["null"] = {"mean": np.mean(nulls, 0).tolist(), "sd": np.std(nulls, 0).tolist()}
out["random"] = [
    [E, m, float(sum(hypergeom.pmf(j, E, m, m) * j / (2 * m - j) for j in range(m + 1)))]
    for E, m in ((12, 2), (7, 2), (8, 2), (64, 8), (128, 8), (128, 16), (5, 4))
]
json.dump(out, sys.stdout, separators=(",", ":"))
