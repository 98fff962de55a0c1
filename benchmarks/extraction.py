"""How well and how quickly notes become entities.

    EHR_JAX_DATA=FOLDER python benchmarks/extraction.py [--patients=2000]

On the notes of the generated hospital, whose mentions are known: precision and recall of the
entities a patient has (conditions that are denied or another's are wrong), with and without the
rules of context, by way of finding. A condition counts once a note. On the sections of MTS-Dialog
(where FOLDER holds them), with the names of the Disease Ontology: counts of the filter and what
share of sections names anything. Times are processor seconds of all steps, for 1,000 notes.
"""

import argparse
import os
import pathlib
import time

import polars as pl

from ehr_jax.knowledge import disk, extraction, mentions, phrases
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.synthetic import notes as synthetic_notes

MEANT = ("active", "historical", "planned")  # statuses of what the patient has or had


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--patients", type=int, default=2000, help="of the generated hospital")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"pyahocorasick {'is' if phrases.accelerated() else 'is not'} installed\n")
    generated_hospital(arguments.patients, arguments.seed)
    root = os.environ.get("EHR_JAX_DATA")
    if root and (pathlib.Path(root) / "mts_dialog").is_dir():
        dialogues(pathlib.Path(root))
    else:
        print("MTS-Dialog: EHR_JAX_DATA holds no folder mts_dialog")


def generated_hospital(patients: int, seed: int) -> None:
    """Prints precision and recall against the planted mentions."""
    table = synthetic.generate(patients, seed).notes.collect()
    notes = table.select(pl.col("visit_id").alias("sample_id"), "time", "text")
    planted = synthetic.mentions(patients, seed)
    rows = [
        (node, name, True) for node, names in enumerate(synthetic_notes.NAMES) for name in names
    ]
    terms = pl.DataFrame(rows, schema=mentions.TERMS, orient="row")
    meant = planted.filter(pl.col("status").is_in(MEANT))
    truth = meant.select("note", node="condition").unique()
    print(f"generated hospital: {notes.height} notes, {planted.height} mentions, ")
    print(f"{truth.height} conditions of the patient's own (a condition counts once a note)\n")
    print(f"{'rules':6} {'finder':12} {'precision':>9} {'recall':>7} {'s / 1,000 notes':>16}")
    for rules in (True, False):
        for accelerate in (False, True) if phrases.accelerated() else (False,):
            gazetteer = mentions.build(terms, accelerate)
            started = time.process_time()
            found = extraction.extract(notes, gazetteer, rules=rules)
            seconds = (time.process_time() - started) / notes.height * 1000
            right = found.entities.join(truth, on=["note", "node"], how="semi").height
            print(
                f"{'on' if rules else 'off':6} {'automaton' if accelerate else 'dictionary':12} "
                f"{right / found.entities.height:9.4f} {right / truth.height:7.4f} {seconds:16.3f}"
            )
    print()


def dialogues(root: pathlib.Path) -> None:
    """Prints what is found in the note sections of MTS-Dialog."""
    files = sorted((root / "mts_dialog").glob("*.csv.gz"))
    sections = pl.concat([pl.read_csv(file)["section_text"] for file in files])
    notes = pl.DataFrame({"text": sections}).select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("sample_id"), time=pl.lit(0.0), text="text"
    )
    terms = disk.open_graph(root=root).terms()
    print(f"MTS-Dialog: {notes.height} sections, {notes['text'].str.len_chars().sum()} characters")
    for accelerate in (False, True) if phrases.accelerated() else (False,):
        started = time.process_time()
        gazetteer = mentions.build(terms, accelerate)
        built = time.process_time() - started
        started = time.process_time()
        found = extraction.extract(notes, gazetteer)
        seconds = time.process_time() - started
        rate = notes["text"].str.len_bytes().sum() / seconds / 1e6
        print(
            f"{'automaton' if accelerate else 'dictionary'}: {terms.height} names in {built:.1f} s,"
            f" {seconds / notes.height * 1000:.3f} s for 1,000 sections, {rate:.2f} MB/s"
        )
    naming = found.entities["note"].n_unique()
    flagged = {flag: found.entities[flag].sum() for flag in extraction.context.Flags._fields}
    print(found.counts, found.notes)
    print(f"{naming} sections name a condition; flags of what is kept: {flagged}")


if __name__ == "__main__":
    main()
