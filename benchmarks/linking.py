"""How well mentions find their disease by meaning: recall@1 and precision for each threshold.

    python benchmarks/linking.py --data=FOLDER

Two sets of names that the graph hetionet_do does not hold. Its own synonyms, each left out in turn,
give the threshold; names of the same diseases in MONDO (joined by cross reference, those that are
spelt alike left out) then show what that threshold is worth. MONDO's names are read of the slice of
PrimeKG. Prints a table a set; an OBO file among the ontology's files brings many more synonyms.
"""

import argparse
import pathlib
import sys
import time

import numpy as np
import polars as pl

from ehr_jax.knowledge import calibration, disk, files, linking
from ehr_jax.text import encoders

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def main() -> int:
    arguments = _parse()
    found = disk.open_graph("hetionet_do", arguments.data)
    encoder = encoders.load(arguments.encoder)
    began = time.perf_counter()
    linker = linking.open_linker(found, encoder, wanted=arguments.wanted)
    rule = linker.dense.calibration
    print(
        f"{encoder.name}: {linker.terms.height:,} terms, linker open in "
        f"{time.perf_counter() - began:.1f} s; threshold {rule.threshold:.4f}, margin "
        f"{rule.margin} for precision {rule.wanted} on {rule.queries:,} left-out synonyms ("
        f"precision {rule.precision:.3f}, recall {rule.recall:.3f})"
    )
    rows = calibration.held_out(linker.terms, arguments.most)
    print(f"\n{len(rows):,} synonyms of the graph, each left out:")
    _table(
        *calibration.left_out(linker.terms, linker.dense.vectors, linker.dense.index, rows), rule
    )

    names = _mondo_names(arguments.data, found).sample(fraction=1, shuffle=True, seed=0)
    by_name = linking.link(linking.open_linker(found, None), names["name"].to_list())
    same = by_name["node"].is_not_null()
    right = (by_name["node"] == names["node"]).filter(same)
    print(
        f"\n{names.height:,} diseases by their name in MONDO: {same.mean():.3f} have a term spelt "
        f"alike, of which {right.mean():.3f} are of the disease"
    )
    names = names.filter(~same).head(arguments.most)
    node, score, margin = linking.nearest(linker, names["name"].to_list())
    print(f"{names.height:,} of the others, by meaning:")
    _table(node == names["node"].to_numpy(), score, margin, rule)
    return 0


def _table(right, score, margin, rule) -> None:
    print("threshold  accepted  precision  recall@1")
    for row in calibration.by_threshold(right, score, THRESHOLDS).iter_rows():
        print(f"{row[0]:9.2f}  {row[1]:8.3f}  {row[2] or 0:9.3f}  {row[3]:8.3f}")
    far = (score >= np.float32(rule.threshold)) & (margin >= np.float32(rule.margin))
    precision = (right & far).sum() / max(1, far.sum())
    print(f"calibrated {far.mean():7.3f}  {precision:9.3f}  {(right & far).mean():8.3f}")


def _mondo_names(root: pathlib.Path, found) -> pl.DataFrame:
    """Returns node, name: MONDO's name of diseases that its references join to one DOID each."""
    folder = root / "primekg_slice"
    names = files.read(
        folder / "kg_grouped_diseases.csv.gz", {"node_id": pl.Int64, "node_name": pl.String}
    )
    references = files.read(
        folder / "mondo_references.csv.gz",
        {"ontology_id": pl.String, "ontology": pl.String, "mondo_id": pl.Int64},
    ).filter(pl.col("ontology") == "DOID")
    nodes = found.nodes.select("id", node=pl.int_range(pl.len(), dtype=pl.Int64))
    joined = references.select("mondo_id", id="DOID:" + pl.col("ontology_id"))
    joined = joined.unique("id", keep="none").unique("mondo_id", keep="none")
    joined = joined.join(nodes, on="id").join(names, left_on="mondo_id", right_on="node_id")
    return joined.select("node", name="node_name").sort("node")


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help="root of the open data")
    parser.add_argument("--encoder", default=encoders.DEFAULT, help="name or folder")
    parser.add_argument("--wanted", type=float, default=calibration.WANTED, help="precision")
    parser.add_argument("--most", type=int, default=1500, help="names of a set")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
