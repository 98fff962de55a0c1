import dataclasses

import hospital
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import cohort, draft, labels, phenotypes, rules, tasks
from ehr_jax.cohorts import spec as specs
from ehr_jax.records.common import tables
from ehr_jax.records.diabetes130 import reader as diabetes130
from ehr_jax.records.mimic import mimic3
from ehr_jax.synthetic import hospital as synthetic

visit, day = hospital.visit, hospital.day
SECOND = 1 / 86_400
UNDATED = rules.RULES["undated"].reason(specs.TASKS["readmission30"].strict)


def _draft(records, task, protocol="strict", **changes):
    return draft.draft(records, specs.find(task, protocol, changes))


def _labels(records, task, protocol="strict", label=None):
    """The label of each visit that takes part, None for those of structure only."""
    rows = _draft(records, task, protocol).rows
    label = label or task.removesuffix("30").removesuffix("_next")
    return dict(rows.select("visit_id", label).iter_rows())


def _excluded(records, task, protocol="strict"):
    return {k: n for k, n in _draft(records, task, protocol).excluded.items() if n}


# readmission30


@pytest.mark.parametrize("protocol", tasks.PROTOCOLS)
def test_readmission_after_exactly_30_days_is_positive_and_a_second_later_is_not(protocol):
    records = hospital.records(
        [visit(1, 0, 5), visit(1, 35, 40), visit(2, 0, 5), visit(2, 35 + SECOND, 40)]
    )
    found = _labels(records, "readmission30", protocol)
    assert found == {0: True, 1: False, 2: False, 3: False}


def test_strict_leaves_out_deaths_and_hospice_and_paper_counts_deaths():
    records = hospital.records(
        [
            visit(1, 0, 5, disposition="died"),
            visit(2, 0, 5, disposition="hospice"),
            visit(3, 0, 5),
            visit(4, 0, 5),
            visit(5, 0, 5),
        ],
        deaths={3: day(35), 4: day(36)},
    )
    assert _labels(records, "readmission30") == {2: False, 3: False, 4: False}
    assert _excluded(records, "readmission30") == {
        "died in hospital": 1,
        "discharged to hospice": 1,
    }
    paper = _labels(records, "readmission30", "paper")
    assert paper == {0: True, 1: False, 2: True, 3: False, 4: False}
    assert _excluded(records, "readmission30", "paper") == {}


def test_a_readmission_that_ends_in_death_still_labels_the_visit_before():
    records = hospital.records([visit(1, 0, 5), visit(1, 10, 12, disposition="died")])
    assert _labels(records, "readmission30") == {0: True}


def test_transfers_join_into_one_episode_discharged_at_its_last_part():
    records = hospital.records(
        [
            visit(1, 0, 5, disposition="transfer"),
            visit(1, 6, 9, disposition="facility"),
            visit(1, 9.5, 12, transferred_in=True),
            visit(1, 40, 41),
        ]
    )
    assert _labels(records, "readmission30") == {0: None, 1: None, 2: True, 3: False}
    assert _excluded(records, "readmission30") == {draft.JOINED: 2}
    paper = _labels(records, "readmission30", "paper")
    assert paper == {0: True, 1: True, 2: True, 3: False}


@pytest.mark.parametrize(
    "first, second",
    [
        (visit(1, 0, 5, disposition="transfer"), visit(1, 6 + SECOND, 9)),  # more than 24 h
        (visit(1, 0, 5, disposition="home"), visit(1, 5.5, 9, transferred_in=True)),  # was home
        (visit(1, 0, 5, disposition="facility"), visit(1, 5.5, 9)),  # no transfer
    ],
)
def test_a_return_without_a_transfer_in_a_day_is_a_readmission(first, second):
    assert _labels(hospital.records([first, second]), "readmission30") == {0: True, 1: False}


def test_overlapping_visits_are_one_episode_until_the_latest_end():
    records = hospital.records([visit(1, 0, 10), visit(1, 2, 3), visit(1, 5, 6), visit(1, 41, 42)])
    # The patient left on day 10, 31 days before coming back.
    assert _labels(records, "readmission30") == {0: False, 1: None, 2: None, 3: False}


def test_an_emergency_visit_and_its_admission_are_one_episode_and_a_later_return_is_none():
    came = {"emergency": True, "disposition": "other"}
    records = hospital.records(
        [
            visit(1, 0, 0.25, "4280", **came),
            visit(1, 0.26, 5, "5849"),
            visit(1, 14, 16, "0389"),
            visit(2, 0, 0.25, emergency=True),  # went home
            visit(2, 0.9, 5),
            visit(3, 0, 5, **came),  # the admission itself
            visit(3, 5.01, 9),
        ]
    )
    found = _labels(records, "readmission30")
    assert found == {0: None, 1: True, 2: False, 3: True, 4: False, 5: True, 6: False}
    rows = _draft(records, "phenotype_next").rows.select("visit_id", "sepsis").rows()
    assert dict(rows) == {0: None, 1: True, 2: None}


def test_a_visit_at_or_after_the_death_is_no_sample_and_no_next_visit():
    records = hospital.records(
        [
            visit(1, 0, 5, "4280", disposition="died"),
            visit(1, 5.001, 9, "0389"),
            visit(2, 0, 5, "4280"),
            visit(2, 6, 6, "0389"),
            visit(3, None, None, "4280", disposition="died"),
            visit(3, None, None, "0389"),
        ],
        deaths={1: day(5), 2: day(6)},
    )
    for task, protocol in (("phenotype_next", "strict"), ("cvd_next", "paper")):
        label = {"phenotype_next": "sepsis", "cvd_next": "cvd"}[task]
        assert _labels(records, task, protocol, label) == {0: None, 2: None, 4: None}
        assert _excluded(records, task, protocol)[draft.AFTER_DEATH] == 3


@pytest.mark.parametrize("protocol", tasks.PROTOCOLS)
@pytest.mark.parametrize("task", specs.TASKS)
def test_a_visit_without_an_end_has_no_label_and_still_shows_a_return(task, protocol):
    going = visit(1, 10, None, "0389", disposition="unknown")
    records = hospital.records([visit(1, 0, 5, "25000"), going])
    rows = _draft(records, task, protocol).rows
    assert 1 not in rows["visit_id"] or rows.filter(visit_id=1)[rows.columns[2]][0] is None
    if task == "readmission30":
        assert rows["readmission"].to_list() == [True]


def test_other_patients_do_not_readmit_a_patient():
    records = hospital.records([visit(1, 0, 5), visit(2, 6, 7)])
    assert _labels(records, "readmission30") == {0: False, 1: False}


def test_what_the_source_states_is_used_before_dates():
    records = hospital.records(
        [
            visit(1, None, None, readmitted_30d=True),
            visit(1, None, None, readmitted_30d=False),
            visit(2, 0, 5, readmitted_30d=False, disposition="transfer"),
            visit(2, 5.5, 7),
            visit(3, None, 5),
        ]
    )
    assert _labels(records, "readmission30") == {0: True, 1: False, 2: False, 3: False}
    assert _excluded(records, "readmission30") == {UNDATED: 1}
    assert _excluded(records, "readmission30", "paper") == {UNDATED: 1}


def test_readmission_is_predicted_at_discharge():
    rows = _draft(hospital.records([visit(1, 0, 5)]), "readmission30", "strict").rows
    assert rows["prediction_time"].to_list() == [day(5)]


# phenotype_next and cvd_next


def test_phenotypes_are_those_of_the_next_coded_visit():
    records = hospital.records(
        [
            visit(1, 0, 5, "486", "5849"),
            visit(1, 6, 7),  # no diagnosis: left out
            visit(1, 900, 901, "5845", "0389", "V3000"),
            visit(2, 0, 1, "78552"),
        ]
    )
    drafted = _draft(records, "phenotype_next", "strict")
    row = drafted.rows.filter(visit_id=0).row(0, named=True)
    positive = {name for name in phenotypes.LABELS if row[name]}
    assert positive == {"acute_renal_failure", "sepsis"}
    assert not any(row[name] is None for name in phenotypes.LABELS)
    for last in (2, 3):
        row = drafted.rows.filter(visit_id=last).row(0, named=True)
        assert all(row[name] is None for name in phenotypes.LABELS)
    excluded = {reason: n for reason, n in drafted.excluded.items() if n}
    assert excluded == {"no ICD-9-CM diagnosis code": 1}


def test_cvd_asks_for_the_next_visit_of_those_free_of_it_now():
    records = hospital.records(
        [
            visit(1, 0, 1, "25000"),
            visit(1, 2, 3, "4280", "25000"),
            visit(1, 4, 5, "25000"),
            visit(1, 6, 7, "V4581", "38999", "460"),
            visit(2, None, None, "390"),
            visit(2, None, None, "459"),
        ]
    )
    found = _labels(records, "cvd_next")
    # Visits 1, 4, 5 have such a code now; visits 3 and 5 are the last.
    assert found == {0: True, 1: None, 2: False, 3: None, 4: None, 5: None}


def test_cvd_takes_procedures_and_drugs_for_no_diagnosis():
    records = hospital.records([visit(1, 0, 1, "25000"), visit(1, 2, 3, "25000")])
    codes = pl.DataFrame(
        {"visit_id": [1, 1], "code": ["ICD9PROC:4280", "DRUG:428"], "position": [2, 3]}
    )
    codes = tables.conform(codes.with_columns(time=None), tables.CODES)
    records = dataclasses.replace(records, codes=pl.concat([records.codes, codes]))
    assert _labels(records, "cvd_next") == {0: False, 1: None}


# mortality


def test_mortality_is_predicted_48_hours_into_the_first_stay():
    records = hospital.records(
        [visit(1, 0, 9, disposition="died"), visit(2, 0, 9), visit(3, 0, 9)],
        stays=((0, 6, 9), (0, 1, 4), (1, 2, 4), (2, 2, 4 - SECOND)),
    )
    rows = _draft(records, "mortality", "strict").rows
    assert rows.rows() == [(0, day(3), True), (1, day(4), False)]


def test_mortality_leaves_out_who_cannot_be_asked_about():
    records = hospital.records(
        [
            visit(1, 0, 9),  # no stay
            visit(2, 0, 9, age=17.9),
            visit(3, 0, 9),  # stay of unknown length
            visit(4, 0, 2),  # left as the 48 h were over
            visit(5, 0, None, disposition="unknown"),
            visit(6, 0, 9, age=None),
            visit(7, 0, 9, disposition="died"),  # discharge written a week after death
            visit(8, 0, 9, disposition="died"),  # dead a day after the prediction
        ],
        stays=((1, 0, 5), (2, 0, None), (3, 0, 2), (4, 0, 5), (5, 0, 5), (6, 0.5, 5), (7, 0.5, 5)),
        deaths={7: day(2.25), 8: day(3.5)},
    )
    assert _labels(records, "mortality") == {5: False, 7: True}
    assert _excluded(records, "mortality") == {
        "no ICU stay": 1,
        "under 18": 1,
        "first ICU stay shorter than 48 h or of unknown length": 1,
        "left the hospital or died before the prediction time": 2,
        "outcome of the visit unknown": 1,
    }


def test_paper_mortality_takes_single_stays_and_dates_of_death():
    records = hospital.records(
        [visit(1, 0, 9), visit(2, 0, 9.5), visit(3, 0, 9), visit(4, 0, 9, age=None)],
        stays=((0, 0, 3), (0, 4, 8), (1, 0, 3), (2, 0, 3), (3, 0, 3)),
        deaths={2: day(9.9), 3: day(10)},  # patient 2 went home at noon and died that day
    )
    assert _labels(records, "mortality", "paper") == {1: True, 2: False}
    assert _excluded(records, "mortality", "paper") == {
        "more than one ICU stay": 1,
        "under 18 or of unknown age": 1,
    }
    assert _labels(records, "mortality") == {0: False, 1: False, 2: False, 3: False}


def test_without_stays_the_48_hours_begin_at_admission():
    records = hospital.records([visit(1, 0, 9, disposition="died"), visit(2, 0, 1)])
    rows = _draft(records, "mortality", "strict").rows
    assert rows.rows() == [(0, day(2), True)]


# long_stay, and changes to a task


def test_long_stays_are_asked_about_24_hours_in():
    records = hospital.records(
        [visit(1, 0, 7), visit(2, 0, 7 + SECOND), visit(3, 0, 1)], stays=((0, 0, 2), (1, 0, 2))
    )
    assert _draft(records, "long_stay").rows.rows() == [(0, day(1), False), (1, day(1), True)]


def test_horizon_gap_and_hours_of_a_task_can_be_changed():
    records = hospital.records([visit(1, 0, 5), visit(1, 40, 49, disposition="died")])
    for days, expected in ((30, False), (34.9, False), (35, True)):
        rows = _draft(records, "readmission30", horizon_days=days).rows
        assert rows["readmission"].to_list() == [expected]
    late = _draft(records, "readmission30", horizon_days=90, gap_hours=36 * 24)
    assert late.rows["readmission"].to_list() == [False]
    rows = _draft(records, "mortality", after_hours=24).rows
    assert rows.rows() == [(0, day(1), False), (1, day(41), True)]
    soon = _draft(records, "mortality", after_hours=24, horizon_days=7)
    assert soon.rows["mortality"].to_list() == [False, False]


def test_codes_of_a_task_can_be_changed():
    records = hospital.records([visit(1, 0, 1, "25000"), visit(1, 2, 3, "486")])
    for codes, expected in ((("ICD9CM:480-487",), True), (("ICD9CM:487", "ICD10CM:J18"), False)):
        assert _draft(records, "cvd_next", codes=codes).rows["cvd"].to_list() == [expected, None]


def test_an_exclusion_can_be_added():
    records = hospital.records([visit(1, 0, 5, planned=True), visit(2, 0, 5)])
    found = _draft(records, "readmission30", exclude=("undated", "planned"))
    assert found.rows["visit_id"].to_list() == [1]
    assert found.excluded["planned admission"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 3}, "config.task.horizon cannot be changed.*horizon_days"),
        ({"horizon_days": -1}, "expected a number, 0 or more"),
        ({"after_hours": 24}, "predicted at discharge.*use gap_hours"),
        ({"more_than_days": 3}, "means nothing for task 'readmission30'"),
        ({"exclude": ("dead",)}, "config.task.exclude: 'dead' is none of undated"),
    ],
)
def test_changes_that_no_task_can_have_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        tasks.build(_many(), "readmission30", changes=changes)


@pytest.mark.parametrize("task", specs.TASKS)
@pytest.mark.parametrize("protocol", tasks.PROTOCOLS)
def test_labels_have_the_names_that_the_task_is_given(task, protocol):
    records = synthetic.generate(60, 0)
    drafted = _draft(records, task, protocol)
    names = tuple(f"outcome {number}" for number in range(len(drafted.labels)))
    renamed = _draft(records, task, protocol, label_names=names)
    assert renamed.labels == names and renamed.excluded == drafted.excluded
    columns = dict(zip(drafted.labels, names, strict=True))
    assert renamed.rows.equals(drafted.rows.rename(columns))
    assert specs.find(task, protocol).title


def test_a_task_has_its_title_and_names_of_its_own():
    changes = {
        "title": "Heart failure",
        "label_names": ("heart_failure",),
        "codes": ("ICD9CM:428",),
    }
    spec = specs.find("cvd_next", "strict", changes)
    assert (spec.title, labels.names_of(spec)) == ("Heart failure", ("heart_failure",))
    assert labels.names_of(specs.find("cvd_next", "strict")) == ("cvd",)
    for names in (("a", "b"), ("a",) * 2):
        with pytest.raises(errors.CohortError, match="a name for each of the 1 label"):
            _draft(_many(2), "cvd_next", label_names=names)


def test_codes_that_are_none_are_refused():
    with pytest.raises(errors.CohortError, match="config.task.codes holds 'ICD9CM:39-459'"):
        tasks.build(_many(), "cvd_next", changes={"codes": ("ICD9CM:39-459",)})


def test_a_description_says_what_was_changed():
    built = tasks.build(_many(), "readmission30", changes={"horizon_days": 100.0})
    assert "whether the patient is admitted again" in built.description
    assert "at most 100 days after" in built.description
    assert built.spec.horizon_days == 100


# build


def _many(patients=60):
    """Patients of two visits; every second is readmitted, dies later and gets heart failure."""
    visits = []
    for subject in range(patients):
        ill = subject % 2 == 0
        visits.append(visit(subject, 0, 5, "25000", "486"))
        back = 10 if ill else 100
        codes = ("4280", "5849") if ill else ("25000",)
        ending = "died" if subject % 4 == 0 else "home"
        visits.append(visit(subject, back, back + 9, *codes, disposition=ending))
    return hospital.records(visits)


@pytest.mark.parametrize("protocol", tasks.PROTOCOLS)
@pytest.mark.parametrize("task", specs.TASKS)
def test_every_task_gives_a_cohort_of_the_contract(task, protocol):
    records = _many()
    built = tasks.build(records, task, protocol, split_seed=3)
    schema = cohort.SAMPLES | {f"label.{name}": pl.Boolean for name in built.labels}
    assert dict(built.samples.schema) == schema
    assert built.samples["sample_id"].to_list() == list(range(built.samples.height))
    order = records.visits.join(built.samples, on="visit_id").sort("sample_id")
    assert order.equals(order.sort("subject_id", "order"))
    for name in built.labels:
        known = built.samples[f"label.{name}"].is_not_null()
        assert known.equals(built.samples["labelled"], check_names=False)
    assert set(built.samples["split"]) == set(cohort.SPLITS)
    assert built.samples["prediction_time"].null_count() == 0
    assert len(built.description) > 100
    assert bool(built.faults) == (protocol == "paper")
    assert built.at_discharge == (task not in ("mortality", "long_stay"))


@settings(max_examples=30, deadline=None)
@given(st.randoms(), st.sampled_from(sorted(specs.TASKS)), st.sampled_from(tasks.PROTOCOLS))
def test_a_cohort_does_not_depend_on_the_order_of_rows(random, task, protocol):
    records = _many()
    shuffled = {}
    for table in ("patients", "visits", "codes"):
        frame = getattr(records, table)
        order = list(range(frame.height))
        random.shuffle(order)
        shuffled[table] = frame[order]
    built = tasks.build(records, task, protocol, 7)
    again = tasks.build(dataclasses.replace(records, **shuffled), task, protocol, 7)
    assert built.samples.equals(again.samples)


def test_strict_keeps_a_patient_in_one_split_and_paper_does_not():
    records = _many()
    several = {
        protocol: tasks.build(records, "readmission30", protocol)
        .samples.group_by("subject_id")
        .agg(pl.col("split").n_unique())["split"]
        .max()
        for protocol in tasks.PROTOCOLS
    }
    assert several["strict"] == 1 < several["paper"]


@pytest.mark.parametrize(
    ("task", "protocol", "message"),
    [
        ("readmision30", "strict", "Did you mean 'readmission30'?"),
        ("readmission30", "strickt", "Did you mean 'strict'?"),
        ("sepsis", "strict", "known: phenotype_next, readmission30, cvd_next, mortality"),
    ],
)
def test_unknown_names_are_refused_with_the_near_miss(task, protocol, message):
    with pytest.raises(errors.CohortError, match="is unknown") as raised:
        tasks.build(_many(2), task, protocol)
    assert message in str(raised.value)


def test_a_task_the_source_cannot_serve_names_those_it_can():
    undated = [visit(subject, None, None, "25000", readmitted_30d=True) for subject in range(3)]
    with pytest.raises(errors.CohortError) as raised:
        tasks.build(hospital.records(undated), "mortality")
    message = str(raised.value)
    assert "hospital cannot serve task 'mortality'" in message
    assert message.endswith("with these records: phenotype_next, readmission30, cvd_next.")


def test_a_cohort_without_any_label_is_refused():
    with pytest.raises(errors.CohortError, match="no visit of hospital has a label, of 3"):
        tasks.build(hospital.records([visit(s, 0, 1, "486") for s in range(3)]), "cvd_next")


def test_a_split_without_a_positive_is_refused():
    records = hospital.records([visit(subject, 0, 5, "486") for subject in range(30)])
    with pytest.raises(errors.CohortError, match="'train' has no positive sample among its 21 "):
        tasks.build(records, "readmission30")


# The real data: counts published with each set, or counted from its raw files by hand.


@pytest.fixture(scope="module")
def mimic3_demo(data_root):
    return mimic3.read(data_root / "mimic_iii_demo_1.4")


@pytest.fixture(scope="module")
def diabetes(data_root):
    return diabetes130.read(data_root / "diabetes_130")


@pytest.mark.parametrize("protocol", tasks.PROTOCOLS)
def test_mimic3_demo_has_29_visits_with_phenotypes_of_the_next(mimic3_demo, protocol):
    samples = tasks.build(mimic3_demo, "phenotype_next", protocol).samples
    labelled = samples.filter("labelled")
    positives = labelled.select(pl.col("^label\\..*$").sum()).row(0)
    assert (samples.height, labelled.height) == (129, 29)
    assert labelled["subject_id"].n_unique() == 14
    assert sum(count > 0 for count in positives) == 24
    assert sum(positives) / 29 == pytest.approx(6.3, abs=0.05)


@pytest.mark.parametrize(
    ("task", "protocol", "visits", "positive"),
    [
        ("readmission30", "strict", 88, 11),
        ("readmission30", "paper", 129, 60),
        ("mortality", "strict", 68, 23),
        ("mortality", "paper", 66, 21),
    ],
)
def test_mimic3_demo_outcomes(mimic3_demo, task, protocol, visits, positive):
    samples = tasks.build(mimic3_demo, task, protocol).samples
    assert (samples.height, samples["labelled"].sum()) == (visits, visits)
    assert samples[samples.columns[-1]].sum() == positive


@pytest.mark.parametrize(
    ("protocol", "visits", "positive"), [("strict", 99_329, 11_305), ("paper", 101_752, 13_000)]
)
def test_diabetes130_readmissions(diabetes, protocol, visits, positive):
    samples = tasks.build(diabetes, "readmission30", protocol).samples
    assert (samples.height, samples["labelled"].sum()) == (visits, visits)
    assert samples["label.readmission"].sum() == positive


@pytest.mark.parametrize("protocol", tasks.PROTOCOLS)
def test_diabetes130_has_12516_pairs_free_of_cvd(diabetes, protocol):
    samples = tasks.build(diabetes, "cvd_next", protocol).samples
    # Of the 101,766 encounters 14 stand after one that ended in death.
    assert samples.height == 101_752
    assert samples["labelled"].sum() == 12_516
    assert samples["label.cvd"].sum() == 4_303


def test_diabetes130_cannot_serve_mortality(diabetes):
    with pytest.raises(errors.CohortError, match="admission and discharge dates"):
        tasks.build(diabetes, "mortality")


def test_folds_of_a_cohort_test_every_sample_once():
    whole = tasks.build(synthetic.generate(200, 1), "readmission30")
    folds = tasks.folds(whole, 4, seed=3)
    tested = [fold.samples.filter(split="test")["sample_id"].to_list() for fold in folds]
    assert sorted(sum(tested, [])) == whole.samples["sample_id"].to_list()
    assert all(len(some) > 30 for some in tested)


def test_a_range_of_codes_holds_both_its_ends_and_all_codes_of_them():
    codes = pl.DataFrame({"code": ["ICD9CM:389", "ICD9CM:390", "ICD9CM:4599", "ICD9CM:460"]})
    held = codes.select(labels.matches(("ICD9CM:390-459",)))
    assert held.to_series().to_list() == [False, True, True, False]
