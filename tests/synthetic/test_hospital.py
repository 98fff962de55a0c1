"""The synthetic hospital: the same for the same arguments, and of the make it claims."""

import hashlib
import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ehr_jax import errors
from ehr_jax.records.common import tables
from ehr_jax.synthetic import codes as synthetic_codes
from ehr_jax.synthetic import conditions as synthetic_conditions
from ehr_jax.synthetic import course as synthetic_course
from ehr_jax.synthetic import hospital as synthetic
from ehr_jax.synthetic import rare as synthetic_rare

FINGERPRINT = """
import hashlib, sys
from ehr_jax.synthetic import hospital as synthetic
records = synthetic.generate(40, seed=5)
digest = hashlib.sha256()
for frame in (records.visits, records.codes, records.attributes, records.measurements.collect(),
              records.notes.collect()):
    digest.update(frame.write_csv().encode())
print(digest.hexdigest())
"""

# Some ICD-9-CM codes of each of the 25 phenotypes of the MIMIC-III benchmark.
PHENOTYPES = {
    "septicemia": "0389 99591 99592",
    "diabetes": "25000 25001",
    "diabetes with complications": "25002 25040 25060",
    "lipids": "2720 2724",
    "fluids": "2761 2767 27651",
    "hypertension": "4011 4019",
    "hypertension with complications": "40390 40391",
    "infarct": "41071 41091",
    "coronary": "41401 412 V4581",
    "conduction": "4260 4263 V4501",
    "dysrhythmia": "42731 42789",
    "heart failure": "4280 42832",
    "stroke": "431 43491",
    "pneumonia": "486 48241",
    "obstructive": "496 4928 49121",
    "pleura": "5119 5180",
    "respiratory failure": "51881 51884",
    "other lower": "515 51889",
    "other upper": "47830 V440",
    "liver": "5715 5722",
    "gastrointestinal bleeding": "5789 5780",
    "acute renal failure": "5849 5845",
    "chronic kidney disease": "5859 5856",
    "complications of care": "99811 99859",
    "shock": "78552 78551",
}


@pytest.fixture(scope="module")
def hospital():
    return synthetic.generate_with_truth(1500, seed=3)


def test_tables_are_what_they_claim(hospital):
    records, _ = hospital
    assert tables.check(records) is records
    assert records.patients.height == 1500
    assert records.visits["subject_id"].n_unique() == 1500
    assert records.visits["order"].max() == synthetic_course.MAXIMUM_VISITS - 1
    assert records.visits.equals(records.visits.sort("subject_id", "order"))
    assert set(records.visits["disposition"]) <= set(tables.DISPOSITIONS)
    assert records.terms == "Generated data; no terms" and not records.oddities


@pytest.mark.parametrize("patients", [1, 2, 17])
def test_size_is_exact_however_small(patients):
    records = synthetic.generate(patients, seed=0)
    assert records.patients.height == patients
    assert records.notes.collect().height >= records.visits.height
    assert records.measurements.collect_schema() == pl.Schema(tables.MEASUREMENTS)


def test_same_arguments_give_the_same_hospital_in_another_process():
    run = [
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len(run[0].strip()) == len(hashlib.sha256().hexdigest()) and run[0] == run[1]


def test_another_seed_gives_another_hospital():
    one, other = (synthetic.generate(30, seed) for seed in (0, 1))
    assert not one.visits.equals(other.visits) and not one.codes.equals(other.codes)
    assert not one.notes.collect().equals(other.notes.collect())
    assert one.code_names.equals(other.code_names)


def test_lazy_tables_collect_the_same_twice(hospital):
    records, _ = hospital
    assert records.notes.collect().equals(records.notes.collect())
    few = records.measurements.filter(pl.col("variable") == "lactate")
    assert few.collect().height and few.collect().equals(few.collect())


def test_impossible_arguments_are_refused():
    for arguments in ((0, 1, 1.0), (5, -1, 1.0), (5, 1, -0.5), (5, 1, float("nan"))):
        with pytest.raises(errors.RecordsError, match="synthetic: "):
            synthetic.generate(*arguments)


def test_times_follow_one_another(hospital):
    records, _ = hospital
    visits = records.visits
    assert (visits["end"] > visits["start"]).all()
    following = visits.with_columns(pl.col("start").shift(-1).over("subject_id").alias("next"))
    assert following.filter(pl.col("next") <= pl.col("end")).is_empty()
    stays = records.stays.join(visits, on="visit_id", suffix="_visit")
    assert (stays["start"] >= stays["start_visit"]).all()
    assert (stays["end"] <= stays["end_visit"]).all()
    assert (stays["end"] > stays["start"]).all()
    measured = records.measurements.collect().join(records.stays, on="stay_id", suffix="_stay")
    assert measured["time"].is_between(measured["start"], measured["end"]).all()
    coded = records.codes.drop_nulls("time").join(visits, on="visit_id")
    assert (coded["time"] <= coded["end"]).all()
    deaths = visits.filter(pl.col("disposition") == "died").join(records.patients, on="subject_id")
    assert deaths.height and (deaths["death_time"] == deaths["end"]).all()
    assert deaths.join(following.drop_nulls("next"), on="visit_id").is_empty()


def test_rates_are_those_of_a_hospital(hospital):
    visits = hospital[0].visits
    assert 2.0 < visits.height / 1500 < 3.0
    in_unit = visits.join(hospital[0].stays.select("visit_id"), on="visit_id", how="semi")
    assert 0.07 < (in_unit["disposition"] == "died").mean() < 0.15
    alive = _outcomes(hospital[0]).filter(~pl.col("died"))
    assert 0.12 < alive["readmitted"].mean() < 0.22


@pytest.mark.parametrize("phenotype", PHENOTYPES)
def test_phenotypes_of_the_next_visit_are_learnable(hospital, phenotype):
    records, _ = hospital
    owners = synthetic_codes.vocabulary("diagnosis")
    wanted = {f"ICD9CM:{code}" for code in PHENOTYPES[phenotype].split()}
    assert wanted <= set(owners.code)
    condition = {owners.owner[k] for k, code in enumerate(owners.code) if code in wanted}
    codes = [owners.code[k] for k in range(owners.code.size) if owners.owner[k] in condition]
    later = records.visits.filter(pl.col("order") > 0)
    found = records.codes.filter(pl.col("code").is_in(codes))
    prevalence = later.join(found, on="visit_id", how="semi").height / later.height
    assert 0.02 < prevalence < 0.40


def test_most_codes_are_rare_and_share_words_with_others(hospital):
    records, _ = hospital
    used = records.codes["code"].value_counts()["count"]
    assert records.code_names.height > 1000 and used.median() < 30
    assert records.code_names["name"].str.len_chars().min() > 2
    drugs = records.code_names.filter(pl.col("kind") == "drug")["name"]
    assert drugs.str.contains("furosemide").sum() > 10


def test_conditions_link_to_conditions():
    names = {condition.name for condition in synthetic_conditions.CONDITIONS}
    for condition in synthetic_conditions.CONDITIONS:
        assert set(condition.leads_to) <= names
        assert condition.group in synthetic_conditions.GROUPS


def test_codes_are_undotted_icd9():
    names = synthetic_codes.code_names()
    shapes = {
        "diagnosis": r"^ICD9CM:(\d{3,5}|V\d{2,4}|E\d{3,4})$",
        "procedure": r"^ICD9PROC:\d{3,4}$",
        "drug": r"^DRUG:.+",
    }
    for kind, shape in shapes.items():
        assert names.filter(pl.col("kind") == kind)["code"].str.contains(shape).all()


def test_notes_are_of_their_time(hospital):
    records, _ = hospital
    notes = records.notes.collect().join(records.visits, on="visit_id")
    summary = pl.col("category") == "Discharge summary"
    assert notes.filter(summary)["date_only"].all()
    assert (notes.filter(summary)["time"].dt.date() == notes.filter(summary)["end"].dt.date()).all()
    clocked = notes.filter(~summary)
    assert not clocked["date_only"].any()
    assert clocked["time"].is_between(clocked["start"], clocked["end"]).all()
    early = notes.filter(pl.col("category") == "Physician")
    assert ((early["time"] - early["start"]).dt.total_hours() <= 6).all()
    assert notes.filter(summary)["visit_id"].n_unique() == records.visits.height


def test_notes_have_sections_negations_and_names_and_no_outcome(hospital):
    text = hospital[0].notes.collect()["text"]
    for heading in ("Chief complaint:", "Past medical history:", "Family history:"):
        assert text.str.contains(heading, literal=True).any()
    assert text.str.contains(r"Denies |No evidence of ").mean() > 0.2
    assert text.str.contains("CHF").any() and text.str.contains("Mother had").any()
    outcome = r"(?i)\b(died|dead|death|expired|readmi|deceased|hospice|passed away|rehab)"
    assert not text.str.contains(outcome).any()
    assert not text.str.contains(r"(?i)\b(year.old|male|female|woman|man|he|she|his|her)\b").any()


def test_notes_name_only_coded_conditions_as_present_save_by_chance(hospital):
    records, _ = hospital
    owners = synthetic_codes.vocabulary("diagnosis")
    stroke = [c.name for c in synthetic_conditions.CONDITIONS].index("stroke")
    codes = [owners.code[k] for k in np.flatnonzero(owners.owner == stroke)]
    coded = records.codes.filter(pl.col("code").is_in(codes))["visit_id"].unique()
    summaries = records.notes.filter(pl.col("category") == "Discharge summary").collect()
    named = summaries.filter(pl.col("text").str.contains(r"\b(stroke|CVA|brain infarct)\b"))
    denied = named.filter(pl.col("text").str.contains(_denial("stroke|CVA|brain infarct")))
    assert named.height > 50 and denied.height > 5
    assert denied.join(coded.to_frame(), on="visit_id", how="semi").height <= denied.height * 0.1


def test_text_depends_on_the_hidden_traits_whatever_the_signal():
    for signal in (0.0, 1.0):
        records, truth = synthetic.generate_with_truth(400, 7, signal)
        summaries = records.notes.filter(pl.col("category") == "Discharge summary").collect()
        told = summaries.sort("visit_id")["text"].str.contains("Bed-bound|immobile|cannot stand")
        level = truth.hidden[:, synthetic_course.TRAITS.index("function")]
        assert told.to_numpy()[level == 2].mean() > 0.3 and not told.to_numpy()[level < 2].any()


def test_without_signal_outcomes_do_not_depend_on_the_traits():
    values = _trait_p_values(signal=0.0)
    # 9 tests: no value below 0.05 / 9 unless something depends.
    assert min(values) > 0.05 / len(values)


def test_with_signal_outcomes_depend_on_the_traits():
    assert max(_trait_p_values(signal=1.0)) < 1e-3


@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_codes_and_measurements_of_a_visit_never_tell_its_traits(signal):
    records, truth = synthetic.generate_with_truth(3000, 11, signal)
    written = records.codes.group_by("visit_id").len()
    written = records.visits.join(written, on="visit_id", how="left", maintain_order="left")
    marks = (
        truth.conditions.sum(1),
        written["len"].fill_null(0).to_numpy(),
        records.visits["age"].to_numpy(),
    )
    values = [
        stats.kruskal(*(mark[truth.hidden[:, trait] == level] for level in range(3))).pvalue
        for mark in marks
        for trait in range(3)
    ]
    assert min(values) > 0.05 / len(values)


def _trait_p_values(signal: float) -> list[float]:
    """P values of death, readmission and the next visit's conditions against each trait's level."""
    records, truth = synthetic.generate_with_truth(4000, 13, signal)
    outcomes = _outcomes(records)
    died, again = outcomes["died"].to_numpy(), outcomes["readmitted"].to_numpy()
    subject = records.visits["subject_id"].to_numpy()
    followed = np.append(subject[1:] == subject[:-1], False)
    groups = np.array([condition.group for condition in synthetic_conditions.CONDITIONS])
    following = np.roll(truth.conditions, -1, axis=0)
    values = []
    for trait, acted_on in enumerate(("metabolic", "lung", "gut")):
        level = truth.hidden[:, trait].astype(int)
        burden = following[:, groups == acted_on].sum(1)
        values += [
            stats.chi2_contingency(_counts(level, died)).pvalue,
            stats.chi2_contingency(_counts(level[~died], again[~died])).pvalue,
            stats.kruskal(*(burden[followed & (level == k)] for k in range(3))).pvalue,
        ]
    return values


def _counts(level: np.ndarray, event: np.ndarray) -> np.ndarray:
    return np.array(
        [[(event & (level == k)).sum(), (~event & (level == k)).sum()] for k in range(3)]
    )


def _outcomes(records: tables.Records) -> pl.DataFrame:
    following = pl.col("start").shift(-1).over("subject_id") - pl.col("end")
    return records.visits.select(
        (pl.col("disposition") == "died").alias("died"),
        (following <= pl.duration(days=30)).fill_null(False).alias("readmitted"),
    )


def _denial(names: str) -> str:
    return rf"(Denies|No evidence of|No history of|Negative for|Without signs of) ({names})\b"


def test_denial_pattern_finds_a_denial():
    assert re.search(_denial("stroke"), "Denies stroke.")


def test_sites_write_the_same_hospital_under_codes_of_their_own():
    one, several = synthetic.generate(60, 1), synthetic.generate(60, 1, sites=3)
    assert several.visits.equals(one.visits)
    billed = several.codes.filter(pl.col("code").str.starts_with("ICD9CM:"))
    assert billed.height == one.codes.filter(pl.col("code").str.starts_with("ICD9CM:")).height
    ends = billed.join(several.visits, on="visit_id")
    assert (ends["time"] > ends["end"]).all()  # known to no model at discharge
    local = several.codes.filter(pl.col("code").str.starts_with("SITE"))
    assert local.height == one.codes.height
    of_patient = local.join(several.visits, on="visit_id").group_by("subject_id")
    sites = of_patient.agg(pl.col("code").str.extract(r"^(SITE\d+)").n_unique())
    assert sites["code"].max() == 1
    assert local["code"].str.extract(r"^(SITE\d+)").n_unique() == 3
    assert local.join(several.code_names, on="code").height == local.height
    with pytest.raises(errors.RecordsError, match="sites is 0"):
        synthetic.generate(10, 0, sites=0)


def test_rare_diseases_are_named_and_act_as_strongly_as_asked():
    def deaths_of_the_grave(signal: float) -> tuple[float, float]:
        records = synthetic.generate(1500, 2, 1.0, 1, signal)
        notes = records.notes.filter(pl.col("category") == "Physician").collect()
        grave = "|".join(map(re.escape, synthetic_rare.GRAVE))
        told = notes.with_columns(grave=pl.col("text").str.contains(grave))
        joined = told.join(records.visits, on="visit_id")
        rate = joined.group_by("grave").agg((pl.col("disposition") == "died").mean())
        return tuple(rate.sort("grave")["disposition"])

    mild, grave = deaths_of_the_grave(2.0)
    assert grave > 4 * mild
    mild, grave = deaths_of_the_grave(0.0)
    assert abs(grave - mild) < 0.03


def test_no_two_splits_share_a_rare_disease():
    records = synthetic.generate(600, 0, 1.0, 1, 3.0)
    notes = records.notes.filter(pl.col("category") == "Physician").collect()
    names = "|".join(map(re.escape, synthetic_rare.GRAVE + synthetic_rare.MILD))
    told = notes.with_columns(disease=pl.col("text").str.extract(f"({names})"))
    assert told["disease"].null_count() == 0
    joined = told.join(records.visits, on="visit_id").join(records.given_split, on="subject_id")
    of_patient = joined.group_by("subject_id").agg(pl.col("disease").n_unique())
    assert of_patient["disease"].max() == 1  # for life
    of_disease = joined.group_by("disease").agg(pl.col("split").n_unique())
    assert of_disease["split"].max() == 1 and of_disease.height > 150
    families = joined.with_columns(grave=pl.col("disease").is_in(synthetic_rare.GRAVE))
    shares = families.group_by("split").agg(pl.col("grave").mean(), pl.len())
    assert set(shares["split"]) == {"train", "validation", "test"}
    assert shares["grave"].is_between(0.3, 0.7).all()


def test_without_rare_diseases_no_patient_is_assigned_to_a_split():
    assert synthetic.generate(20, 0).given_split.is_empty()


def test_names_of_rare_diseases_are_distinct_and_name_no_family():
    names = synthetic_rare.GRAVE + synthetic_rare.MILD
    assert len(set(names)) == len(names) == 200
    for name in names:
        assert re.fullmatch(r"[A-Z][\w -]+ (disease|syndrome)", name)


@pytest.mark.parametrize("signal", [-1.0, float("nan"), float("inf")])
def test_an_impossible_knowledge_signal_is_refused(signal):
    with pytest.raises(errors.RecordsError, match="knowledge_signal is"):
        synthetic.generate(10, 0, knowledge_signal=signal)
