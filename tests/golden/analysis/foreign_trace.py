# A trace as docs/trace.md tells a Python writer to make it: pyarrow's own defaults (cells may be null, dictionaries, run lengths,
# pages of version 1), int64 ids as pandas makes them, no metadata. Two documents of three tokens in layers 2 and 3, 2 of 4 experts.
#   python tests/golden/analysis/foreign_trace.py        (pyarrow 26.0.1)
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

folder = Path(__file__).parent / "foreign-trace"
languages = [
    {"code": code, "name": code, "script": "Latn", "family": code, "expert": -1, "trainingBytes": 1} for code in ("en", "fi")
]
documents = [
    {"id": f"0/{code}", "item": "0", "language": code, "source": "hand", "domain": "general"} for code in ("en", "fi")
]
header = {
    "version": 2, "run": "pyarrow", "model": "by hand", "routing": "free", "numExperts": 4, "expertsPerToken": 2,
    "numLayers": 4, "moeLayers": [2, 3], "normalised": True, "expertNames": ["a", "b", "c", "d"],
    "languages": languages, "documents": documents,
}
rows = []
for document in range(2):
    for position in range(3):
        # layer 2: experts 2, 0, 1 by position with expert 3, gates .75/.25; layer 3: expert 3 first, .75/.25
        other = [2, 0, 1][position]
        for layer, chosen in ((2, (other, 3)), (3, (3, other))):
            for slot, gate in enumerate((0.75, 0.25)):
                rows.append((7, document, position, 100 + position, document, layer, slot, chosen[slot], gate, 0))
names = ["step", "document", "position", "token", "language", "layer", "slot", "expert", "gate", "special"]
columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
slots = pa.table({name: pa.array(column, pa.float32() if name == "gate" else pa.int64()) for name, column in columns.items()})
folder.mkdir(exist_ok=True)
pq.write_table(slots, folder / "trace.parquet", compression="snappy")
counts = {}
for step, _, _, _, language, layer, _, expert, gate, _ in rows:
    count, total = counts.get((step, layer, language, expert), (0, 0.0))
    counts[step, layer, language, expert] = (count + 1, total + gate)
table = pa.table({
    **{name: [key[i] for key in counts] for i, name in enumerate(["step", "layer", "language", "expert"])},
    "count": [count for count, _ in counts.values()],
    "gate": [gate for _, gate in counts.values()],
})
pq.write_table(table, folder / "counts.parquet", compression="none")
(folder / "trace.json").write_text(json.dumps(header) + "\n")
# Not of a trace: a dictionary with one entry that every row points to, and a column with an empty cell.
pages = pa.table({"x": pa.array([7] * 24, pa.int32()), "y": pa.array([None] + [7] * 23, pa.int32())})
pq.write_table(pages, folder / "pages.parquet", compression="none")
