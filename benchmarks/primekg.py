"""A graph of PrimeKG's size, simulated as kg.csv, is read: time, memory, and time to open again.

    python benchmarks/primekg.py --folder=FOLDER

Writes FOLDER/primekg/kg.csv (used again if there) in the schema of the release, each edge in both
directions and shuffled, reads it in a process of its own and keeps it in the compact form. Exit
status 1 where the peak of resident memory is 3 GB or more, or an edge is lost.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

LIMIT_GB = 3.0
# Type and its share of the nodes; relations between types and their share of the edges, roughly
# those of the release.
TYPES = {"biological_process": 0.24, "gene/protein": 0.24, "disease": 0.15, "anatomy": 0.12}
TYPES |= {"effect/phenotype": 0.14, "drug": 0.11}
RELATIONS = (
    ("anatomy_protein_present", "expression present", "anatomy", "gene/protein", 0.38),
    ("drug_drug", "synergistic interaction", "drug", "drug", 0.33),
    ("protein_protein", "ppi", "gene/protein", "gene/protein", 0.08),
    ("disease_phenotype_positive", "phenotype present", "disease", "effect/phenotype", 0.06),
    ("bioprocess_protein", "interacts with", "biological_process", "gene/protein", 0.05),
    ("disease_protein", "associated with", "disease", "gene/protein", 0.04),
    ("contraindication", "contraindication", "drug", "disease", 0.03),
    ("indication", "indication", "drug", "disease", 0.02),
    ("disease_disease", "parent-child", "disease", "disease", 0.01),
)


def main() -> int:
    arguments = _parse()
    if arguments.only == "read":
        return _read(arguments.folder)
    path = arguments.folder / "primekg" / "kg.csv"
    if not path.exists():
        _write(path, arguments.rows, arguments.nodes)
    command = [sys.executable, __file__, f"--folder={arguments.folder}", "--only=read"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    print(
        f"{found['rows']:,} edges of {found['nodes']:,} nodes ({path.stat().st_size / 1e9:.2f} GB "
        f"of text): read and kept in {found['seconds']:.1f} s ({found['cpu']:.1f} s of "
        f"CPU), peak {found['peak_gb']:.2f} GB (aim "
        f"under {LIMIT_GB:g}); {found['bytes'] / 1e6:.0f} MB on disk, opened again in "
        f"{found['again']:.2f} s"
    )
    whole = found["theirs"] == _lines(path) - 1
    print("every row is an edge" if whole else "EDGES LOST")
    return 0 if whole and found["peak_gb"] < LIMIT_GB else 1


def _write(path: pathlib.Path, rows: int, nodes: int) -> None:
    """Writes distinct edges without loops, so that every row must come back as an edge."""
    import numpy as np
    import polars as pl

    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    counts = [max(2, round(nodes * share)) for share in TYPES.values()]
    first = np.cumsum([0, *counts])
    kinds = np.repeat(list(TYPES), counts)
    table = pl.DataFrame({"index": np.arange(len(kinds)), "type": kinds}).with_columns(
        id=pl.format("I{}", pl.col("index") * 7),
        name=pl.format("{} with a name, number {}", "type", "index"),
        source=pl.col("type").str.slice(0, 4).str.to_uppercase(),
    )
    parts = []
    for code, (*_, head, tail, share) in enumerate(RELATIONS):
        ends = [list(TYPES).index(kind) for kind in (head, tail)]
        wanted = int(rows * share / 2)
        x, y = (generator.integers(first[e], first[e + 1], 2 * wanted) for e in ends)
        low, high = np.minimum(x, y), np.maximum(x, y)
        pairs = np.unique((low * len(kinds) + high)[low != high])
        pairs = generator.permutation(pairs)[:wanted]
        low, high = pairs // len(kinds), pairs % len(kinds)
        parts.append(np.stack([np.full(2 * len(pairs), code), np.append(low, high),
                               np.append(high, low)]))  # fmt: skip
    code, x, y = generator.permutation(np.concatenate(parts, axis=1), axis=1)
    partial = path.with_name(".kg.csv.partial")
    with open(partial, "wb") as file:
        for start in range(0, len(code), 500_000):
            part = slice(start, start + 500_000)
            columns = {
                "relation": np.array([each[0] for each in RELATIONS])[code[part]],
                "display_relation": np.array([each[1] for each in RELATIONS])[code[part]],
            }
            frame = pl.DataFrame(columns)
            for end, index in (("x", x[part]), ("y", y[part])):
                these = table[index].select("index", "id", "type", "name", "source")
                frame = frame.hstack(
                    these.rename({name: f"{end}_{name}" for name in these.columns})
                )
            file.write(frame.write_csv(include_header=start == 0).encode())
    os.replace(partial, path)


def _read(folder: pathlib.Path) -> int:
    from ehr_jax.knowledge import disk

    began = time.perf_counter()
    found = disk.open_graph("primekg", folder, folder / "graphs")
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    again = disk.open_graph("primekg", folder, folder / "graphs")
    told = {
        "seconds": seconds,
        "again": time.perf_counter() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_gb": used.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6),
        "rows": len(again.tail),
        "theirs": len(again.tail) - found.counts()["by_relation"].get("is_a", 0),
        "nodes": again.nodes.height,
        "bytes": sum(p.stat().st_size for p in (folder / "graphs" / "primekg").iterdir()),
    }
    print(json.dumps(told))
    return 0


def _lines(path: pathlib.Path) -> int:
    with open(path, "rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 24), b""))


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=int, default=8_100_000, help="of kg.csv")
    parser.add_argument("--nodes", type=int, default=130_000)
    parser.add_argument("--only", choices=["read"], help="one step")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
