"""Distances, silhouettes, trees, Mantel and other correlations, t tails and discoveries by scipy, scikit-learn and statsmodels.

    python distances.py > distances.json        # numpy, scipy, scikit-learn, statsmodels
"""
import json
import numpy as np
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import jensenshannon, squareform
from scipy.stats import pearsonr, rankdata, spearmanr, t as student
from sklearn.metrics import silhouette_samples
from statsmodels.stats.multitest import multipletests

random = np.random.default_rng(6)
n, experts = 9, 6
rows = random.dirichlet(np.full(experts, 0.8), n).round(6)
rows[:, 0] += 1 - rows.sum(1)
rows[3, 2] += rows[3, 4]
rows[3, 4] = 0
distance = np.array([[jensenshannon(p, q, base=2) for q in rows] for p in rows])
np.fill_diagonal(distance, 0)
family = ["a", "a", "a", "b", "b", "c", "c", "c", "d"]
tree = np.array([[0.0 if i == j else 0.5 if family[i] == family[j] else 1.0 for j in range(n)] for i in range(n)])
script = np.array([[float((i // 2) % 3 != (j // 2) % 3) for j in range(n)] for i in range(n)])
vocabulary = random.uniform(0.3, 1, (n, n)).round(4)
vocabulary = np.triu(vocabulary, 1) + np.triu(vocabulary, 1).T
flat = lambda matrix: squareform(matrix, checks=False)


def left(y, controls):
    design = np.column_stack([np.ones(len(y)), *controls])
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


x = flat(distance)
merges = linkage(x, "average")
score = random.normal(size=n).round(4)
score[2] = score[5]
covariate = random.normal(size=n).round(4)
divergence = distance[0].round(6)
p = np.sort(random.uniform(0, 1, 20) ** 4).round(6)
random.shuffle(p)
print(json.dumps({
    "rows": rows.tolist(), "family": family, "distance": distance.tolist(),
    "silhouettes": silhouette_samples(distance, family, metric="precomputed").tolist(),
    "merges": merges.tolist(), "cophenetic": squareform(cophenet(merges)).tolist(), "copheneticR": pearsonr(cophenet(merges), x)[0],
    "tree": tree.tolist(), "script": script.tolist(), "vocabulary": vocabulary.tolist(),
    "mantel": {"tree": pearsonr(x, flat(tree))[0], "script": pearsonr(x, flat(script))[0], "vocabulary": pearsonr(x, flat(vocabulary))[0]},
    "partialMantel": pearsonr(left(x, [flat(script), flat(vocabulary)]), left(flat(tree), [flat(script), flat(vocabulary)]))[0],
    "score": score.tolist(), "covariate": covariate.tolist(), "divergence": divergence.tolist(),
    "pearson": pearsonr(divergence, score)[0], "spearman": spearmanr(divergence, score)[0],
    "partialPearson": pearsonr(left(divergence, [covariate]), left(score, [covariate]))[0],
    "partialSpearman": pearsonr(left(rankdata(divergence), [rankdata(covariate)]), left(rankdata(score), [rankdata(covariate)]))[0],
    "tails": [[t, df, 2 * student.sf(t, df)] for t in (0.1, 1, 2.5, 12, 40) for df in (1, 4, 49, 300)],
    "critical": [[tail, df, student.isf(tail / 2, df)] for tail in (0.05, 1e-6) for df in (1, 4, 49)],
    "p": p.tolist(), "adjusted": multipletests(p, 0.05, "fdr_bh")[1].tolist(), "found": multipletests(p, 0.05, "fdr_bh")[0].tolist(),
}, separators=(",", ":")))
