"""Checks of what is certain: patients, times and fitted parts. A failure is an error of the run."""

import numpy as np
import polars as pl
import scipy.stats

from ehr_jax.audit import evidence, subset
from ehr_jax.evaluation import metrics
from ehr_jax.features import hypergraph, vocabulary
from ehr_jax.nn import bipartite

# Kinds of nodes.
FACT = pl.col("kind") == "attribute"
HISTORY = pl.col("kind").str.starts_with("earlier ")


def findings(given: evidence.Evidence) -> list[evidence.Finding]:
    """Returns the findings of this file."""
    checks = (
        patients_across_splits,
        inputs_after_prediction,
        notes_after_prediction,
        windows_by_label,
        fitted_on_training,
    )
    return [check(given) for check in checks]


def patients_across_splits(given: evidence.Evidence) -> evidence.Finding:
    """No patient with labelled samples in one split has labelled or training samples in another."""
    uses = given.cohort.samples
    if given.cohort.protocol != "strict":
        # Visits that give structure only are put in "train" by the published splits.
        uses = uses.filter("labelled")
    rows = (
        uses.group_by("subject_id")
        .agg(pl.col("split").unique().sort().str.join("+").alias("splits"), samples=pl.len())
        .filter(pl.col("splits").str.contains("+", literal=True))
        .sort("subject_id")
    )
    return evidence.found(
        "patients across splits",
        rows,
        "{count} patient(s) have samples in more than one split: a model may recognise them",
        "every patient is in one split",
    )


def inputs_after_prediction(given: evidence.Evidence) -> evidence.Finding:
    """Every node of a sample was known at its prediction time, by the records' own times."""
    late = [_late_codes(given), _late_history(given), _late_facts(given)]
    rows = pl.concat(late).sort("sample_id", "input")
    return evidence.found(
        "inputs after the prediction time",
        rows,
        "{count} input(s) of samples became known only after the prediction time",
        "every code, attribute and measurement was known at the prediction time",
    )


def notes_after_prediction(given: evidence.Evidence) -> evidence.Finding:
    """No sample's text holds a note that was written after its prediction time."""
    check = "notes after the prediction time"
    if not given.reads.notes:
        return evidence.Finding(check, "skip", evidence.NO_NOTES)
    used = given.known.notes
    if used.is_empty():
        return evidence.Finding(check, "skip", "the records have no notes")
    rows = _late_notes(given, used)
    return evidence.found(
        check,
        rows,
        "the text of {count} sample(s) holds notes written after the prediction time",
        f"the texts of {used.height} samples hold nothing written after the prediction time",
    )


def windows_by_label(given: evidence.Evidence) -> evidence.Finding:
    """The observed window does not tell the label by its length (Mann-Whitney, p < 0.001)."""
    check = "window length by label"
    cohort = given.cohort
    visits = given.records.visits.select("visit_id", "start", "end")
    first = given.records.stays.group_by("visit_id").agg(pl.col("start").min().alias("stay_start"))
    samples = (
        cohort.samples.filter("labelled")
        .join(visits, on="visit_id", how="left", maintain_order="left")
        .join(first, on="visit_id", how="left", maintain_order="left")
    )
    if samples["prediction_time"].is_null().all():
        return evidence.Finding(check, "skip", "the records have no times")
    if cohort.at_discharge:
        rows = samples.filter(pl.col("prediction_time") != pl.col("end"))
        return evidence.found(
            check,
            rows.select("sample_id", "subject_id"),
            "{count} sample(s) are predicted at another time than their discharge",
            "every sample is predicted at discharge, with its whole visit",
        )
    hours = (
        (pl.col("prediction_time") - pl.coalesce("stay_start", "start")).dt.total_seconds() / 3600
    ).alias("hours")
    samples = samples.with_columns(hours).drop_nulls("hours")
    told = []
    for name in cohort.labels:
        label = pl.col(f"label.{name}")
        groups = [samples.filter(label == value)["hours"].to_numpy() for value in (True, False)]
        if min(map(len, groups)) and np.ptp(np.concatenate(groups)) > 0:
            test = scipy.stats.mannwhitneyu(*groups)
            if test.pvalue < 0.001 / len(cohort.labels):
                of_label = samples.drop_nulls(f"label.{name}")
                auroc = metrics.auroc(*of_label.select("hours", label).to_numpy().T)
                medians = [float(np.median(group)) for group in groups]
                told.append((name, round(auroc, 3), *medians))
    columns = ("label", "auroc_of_the_length", "median_hours_positive", "median_hours_negative")
    rows = pl.DataFrame(told, schema=columns, orient="row")
    return evidence.found(
        check,
        rows,
        "the length of the observed window tells {count} label(s)",
        "the observed window is as long for positives as for negatives",
    )


def fitted_on_training(given: evidence.Evidence) -> evidence.Finding:
    """Vocabulary, bins and structure vectors come out the same from training patients alone."""
    samples = given.cohort.samples.filter(split="train")
    records = subset.records_of(given.records, samples["subject_id"].unique())
    fitted = hypergraph.fit_graph(
        given.known.alone(records, samples),
        given.features,
        structured=given.structure.shape[1] > 0,
    )
    rows = [
        ("vocabulary", code)
        for code in sorted(set(given.vocabulary.codes) ^ set(fitted.vocabulary.codes))
    ]
    if not rows and not np.array_equal(given.structure, fitted.structure):
        rows = [("structure vectors", "differ")]
    return evidence.found(
        "fitted on training patients alone",
        pl.DataFrame(rows, schema=("part", "difference"), orient="row"),
        "{count} difference(s) to what training patients alone give: validation or test patients "
        "were seen while fitting",
        "vocabulary, bins and structure vectors are those of the training patients alone",
    )


def _times(table: pl.DataFrame, given: evidence.Evidence) -> pl.DataFrame:
    """Rows of a records table that are known in time, with their sample_id."""
    samples = given.cohort.samples.select("sample_id", "visit_id", "prediction_time")
    ends = given.records.visits.select("visit_id", "end", undated=pl.col("end").is_null())
    joined = table.join(samples, on="visit_id").join(ends, on="visit_id")
    known_at = pl.coalesce("time", "end")
    no_clock = pl.col("prediction_time").is_null() & given.cohort.at_discharge
    in_time = no_clock | (known_at <= pl.col("prediction_time"))
    return joined.filter(in_time.fill_null(False))


def _held(given: evidence.Evidence, chosen: pl.Expr) -> pl.DataFrame:
    """(sample_id, input) of the nodes whose `kind` is chosen."""
    node, sample, _, _ = bipartite.unpack(given.visits)
    held = pl.DataFrame({"sample_id": np.asarray(sample, np.int64), "node": np.asarray(node)})
    index = pl.DataFrame(
        {
            "node": np.arange(len(given.vocabulary.codes)),
            "input": given.vocabulary.codes,
            "kind": given.vocabulary.kinds,
            "name": given.vocabulary.names,
        }
    ).with_columns(pl.col("node").cast(held.schema["node"]))
    return held.join(index.filter(chosen), on="node")


def _late_codes(given: evidence.Evidence) -> pl.DataFrame:
    in_time = _times(given.records.codes, given).select("sample_id", input=_code(given)).unique()
    held = _held(given, ~FACT & ~HISTORY)
    plain = held.with_columns(pl.col("input").str.strip_prefix("MAIN:"))
    late = plain.join(in_time, on=["sample_id", "input"], how="anti")
    return _named(late, given)


def _late_history(given: evidence.Evidence) -> pl.DataFrame:
    """Codes of earlier visits that no visit over by then, and before this one, holds."""
    samples = given.cohort.samples.select("sample_id", "visit_id", "prediction_time")
    visits = given.records.visits.select("visit_id", "subject_id", "order", "end")
    own = visits.select("visit_id", "subject_id", this_order="order")
    others = samples.join(own, on="visit_id").drop("visit_id").join(visits, on="subject_id")
    over = pl.col("order") < pl.col("this_order")
    if given.records.dated:
        undated = pl.col("prediction_time").is_null()
        over &= undated | (pl.col("end") <= pl.col("prediction_time")).fill_null(False)
    in_time = others.filter(over).join(given.records.codes, on="visit_id")
    in_time = in_time.select("sample_id", pl.format("EARLIER:{}", _code(given)).alias("input"))
    held = _held(given, HISTORY)
    return _named(held.join(in_time.unique(), on=["sample_id", "input"], how="anti"), given)


def _code(given: evidence.Evidence) -> pl.Expr:
    code = pl.col("code")
    return vocabulary.at_category_level(code) if given.features.categories else code


def _late_facts(given: evidence.Evidence) -> pl.DataFrame:
    held = _held(given, FACT)
    # A node is called "<attribute>: <value>"; of a measurement, "last <variable>: <bin>".
    held = held.with_columns(fact=pl.col("name").str.extract(r"(?s)^(.*?): "))
    in_time = [_times(given.records.attributes, given).select("sample_id", fact="name").unique()]
    if given.features.measurements:
        samples = given.cohort.samples.select("sample_id", "visit_id", "prediction_time")
        measured = (
            given.known.measured.first.join(samples, on="visit_id")
            .filter(pl.col("time") <= pl.col("prediction_time"))
            .select("sample_id", pl.format("last {}", "variable").alias("fact"))
        )
        in_time.append(measured)
    facts = pl.concat(in_time)
    late = held.join(facts, on=["sample_id", "fact"], how="anti")
    return _named(late, given)


def _late_notes(given: evidence.Evidence, used: pl.DataFrame) -> pl.DataFrame:
    cohort = given.cohort
    samples = cohort.samples.lazy().select("sample_id", "subject_id", "visit_id", "prediction_time")
    notes = given.known.written.lazy().join(samples, on="visit_id").drop_nulls("text")
    day = pl.col("prediction_time").dt.truncate("1d")
    if cohort.at_discharge:
        late = pl.when("date_only").then(pl.col("time") > day)
        late = late.otherwise(pl.col("time") > pl.col("prediction_time"))
    else:
        summary = pl.col("category").fill_null("").str.to_lowercase().str.contains("discharge")
        late = pl.when("date_only").then(pl.col("time") + pl.duration(days=1))
        late = summary | (late.otherwise(pl.col("time")) > pl.col("prediction_time"))
    notes = notes.with_columns(late=late.fill_null(False))
    keys = ["sample_id", "text"]
    # The same words may have been written in time too.
    early = notes.filter(~pl.col("late")).select(keys)
    late_only = notes.filter("late").join(early, on=keys, how="anti").collect()
    joined = late_only.join(used.rename({"text": "used"}), on="sample_id")
    holds = joined.filter(pl.col("used").str.contains(pl.col("text"), literal=True))
    return holds.group_by("sample_id", "subject_id").len("late_notes").sort("sample_id")


def _named(late: pl.DataFrame, given: evidence.Evidence) -> pl.DataFrame:
    subjects = given.cohort.samples.select("sample_id", "subject_id", "split")
    joined = late.join(subjects, on="sample_id")
    return joined.select("sample_id", "subject_id", "split", "input")
