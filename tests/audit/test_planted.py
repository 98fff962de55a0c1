"""Every planted fault is caught by the check that is named for it; clean cohorts are silent.

docs/audit.md lists the same faults in the same words.
"""

import pathlib

import pytest

from ehr_jax import errors
from ehr_jax.audit import (
    association,
    audit,
    integrity,
    outcomes,
    persons,
    perturbation,
    stamps,
    strength,
    taught,
    verdict,
    words,
)
from ehr_jax.cohorts import tasks
from tests.audit import faults_of_cohorts as cohorts
from tests.audit import faults_of_inputs as inputs
from tests.audit import faults_of_records as records
from tests.audit import scenes

FUTURE = "inputs changed by the future"
HELD_OUT = "training changed by held-out patients"
LATE = "inputs after the prediction time"
FITTED = "fitted on training patients alone"
ENCODES = "columns that encode the outcome"
REPEATED = "notes repeated across splits"
WORDS = "words in notes that state the outcome"
STAMPED = "billed codes stamped at the admission"

# The fault, the scene it is planted in, and the check that must catch it.
PLANTED = [
    (inputs.codes_of_the_whole_visit, scenes.visits, integrity, LATE),
    (inputs.codes_of_the_whole_visit, scenes.visits, perturbation, FUTURE),
    (inputs.codes_of_the_next_hour, scenes.stays, perturbation, FUTURE),
    (inputs.codes_of_later_visits_as_history, scenes.visits, integrity, LATE),
    (inputs.codes_of_later_visits_as_history, scenes.discharge, perturbation, FUTURE),
    (inputs.measurements_of_two_days_later, scenes.visits, perturbation, FUTURE),
    (inputs.measurements_rounded_up_to_a_second, scenes.visits, perturbation, FUTURE),
    (inputs.notes_of_the_whole_visit, scenes.visits, integrity, "notes after the prediction time"),
    (inputs.notes_of_the_whole_visit, scenes.stays, perturbation, FUTURE),
    (inputs.notes_of_a_date_from_the_start_of_their_day, scenes.visits, perturbation, FUTURE),
    (inputs.discharge_summaries_inside_the_stay, scenes.visits, perturbation, FUTURE),
    (inputs.series_of_a_day_later, scenes.stays, perturbation, FUTURE),
    (inputs.series_of_a_day_later_in_the_run_alone, scenes.stays, perturbation, FUTURE),
    (inputs.series_to_the_end_of_the_next_hour, scenes.stays, perturbation, FUTURE),
    (inputs.series_rounded_up_to_a_second, scenes.stays, perturbation, FUTURE),
    (inputs.knowledge_of_later_notes, scenes.stays, perturbation, FUTURE),
    (inputs.survival_as_a_static, scenes.stays, perturbation, FUTURE),
    (inputs.a_length_of_stay_as_a_static, scenes.stays, perturbation, FUTURE),
    (inputs.a_score_made_later, scenes.stays, perturbation, FUTURE),
    (inputs.vocabulary_of_all_patients, scenes.visits, integrity, FITTED),
    (inputs.vocabulary_of_all_patients, scenes.visits, perturbation, HELD_OUT),
    (inputs.bins_of_all_patients, scenes.visits, perturbation, HELD_OUT),
    (inputs.structure_of_all_visits, scenes.visits, perturbation, HELD_OUT),
    (inputs.text_scale_of_all_samples, scenes.visits, perturbation, HELD_OUT),
    (inputs.scale_of_all_samples, scenes.stays, perturbation, HELD_OUT),
    (inputs.usual_of_all_samples, scenes.stays, perturbation, HELD_OUT),
    (inputs.statics_of_all_samples, scenes.stays, perturbation, HELD_OUT),
    (inputs.note_size_of_all_samples, scenes.stays, perturbation, HELD_OUT),
    (inputs.survival_of_held_out_patients, scenes.stays, perturbation, HELD_OUT),
    (cohorts.weights_of_all_labels, scenes.stays, perturbation, HELD_OUT),
    (cohorts.a_teacher_that_knows_the_labels_it_teaches, scenes.discharge, taught, taught.CHECK),
    (cohorts.a_teacher_whose_folds_cut_patients, scenes.discharge, taught, taught.CHECK),
    (cohorts.a_teacher_fitted_to_test_patients, scenes.discharge, taught, taught.CHECK),
    (cohorts.a_patient_in_two_splits, scenes.visits, integrity, "patients across splits"),
    (cohorts.a_patient_under_two_ids, scenes.visits, persons, "patients under two ids"),
    (cohorts.a_split_that_follows_the_label, scenes.discharge, persons, "prevalence by split"),
    (cohorts.a_longer_window_of_survivors, scenes.visits, integrity, "window length by label"),
    (cohorts.a_longer_window_of_survivors, scenes.visits, outcomes, outcomes.TIME),
    (cohorts.predictions_two_hours_late, scenes.stays, outcomes, outcomes.TIME),
    (cohorts.deaths_before_the_prediction, scenes.visits, outcomes, outcomes.AFTER),
    (cohorts.labels_of_other_patients, scenes.visits, outcomes, outcomes.AGAIN),
    (cohorts.deaths_labelled_as_survived, scenes.visits, outcomes, outcomes.AGAIN),
    (cohorts.readmissions_of_half_a_year, scenes.discharge, outcomes, outcomes.AGAIN),
    (records.a_column_that_is_the_outcome, scenes.visits, association, ENCODES),
    (records.a_column_named_as_the_outcome, scenes.visits, association, ENCODES),
    (records.a_column_recorded_for_the_dead, scenes.visits, association, "missingness by label"),
    (records.notes_copied_across_splits, scenes.visits, association, REPEATED),
    (records.a_column_that_nearly_tells, scenes.visits, strength, "strongest single inputs"),
    (records.a_series_that_is_the_outcome, scenes.stays, strength, "strongest single inputs"),
    (records.a_code_that_states_the_outcome, scenes.visits, strength, "strongest single inputs"),
    (records.two_columns_that_tell_together, scenes.discharge, strength, "inputs together"),
    (records.a_code_that_states_the_outcome, scenes.visits, words, "names that state the outcome"),
    (records.notes_that_state_the_outcome, scenes.visits, words, WORDS),
    (records.series_stamped_two_days_early, scenes.stays, stamps, "times inside the visit"),
    (records.billed_codes_stamped_at_the_admission, scenes.visits, stamps, STAMPED),
]  # fmt: skip
# For a person to judge: a warning, no failure.
WARNINGS = {
    "a_column_that_nearly_tells",
    "a_code_that_states_the_outcome",
    "two_columns_that_tell_together",
    "notes_that_state_the_outcome",
    "a_split_that_follows_the_label",
}
# What no audit can see: silent, and said so in docs/audit.md.
INVISIBLE = [
    (records.results_stamped_an_hour_early, scenes.stays),
    (records.deaths_that_the_source_does_not_know, scenes.visits),
    (records.notes_in_other_words, scenes.visits),
]
# Nothing that is written names a patient or quotes a note.
PRIVATE = {"subject_id", "visit_id", "text", "used"}


def name(value) -> str:
    return getattr(value, "__name__", str(value)).rsplit(".", 1)[-1]


@pytest.mark.parametrize(("plant", "scene", "room", "check"), PLANTED, ids=name)
def test_a_planted_fault_is_caught(plant, scene, room, check, monkeypatch):
    findings = {found.check: found for found in room.findings(plant(scene(), monkeypatch))}
    caught = findings[check]
    assert caught.status == ("warn" if plant.__name__ in WARNINGS else "fail"), caught.message
    assert caught.count > 0 and caught.rows.height > 0
    for finding in findings.values():
        assert not PRIVATE & set(finding.rows.columns)


@pytest.mark.parametrize("scene", [scenes.visits, scenes.discharge, scenes.stays], ids=name)
def test_a_clean_cohort_is_silent(scene):
    findings = audit.run(scenes.look(scene()))
    loud = [found.message for found in findings if found.status in ("fail", "warn")]
    assert not loud
    assert len({found.check for found in findings}) == len(findings)
    verdict.require(findings)


def test_a_teacher_that_is_out_of_fold_is_silent(monkeypatch):
    (found,) = taught.findings(cohorts.no_fault_with_a_teacher(scenes.discharge(), monkeypatch))
    assert found.status == "pass"


@pytest.mark.parametrize(("plant", "scene"), INVISIBLE, ids=name)
def test_what_no_audit_can_see_is_silent(plant, scene, monkeypatch):
    findings = audit.run(plant(scene(), monkeypatch))
    assert not [found.message for found in findings if found.status in ("fail", "warn")]


def test_every_check_has_a_planted_fault():
    checks = {found.check for found in audit.run(scenes.look(scenes.visits()))}
    assert checks == {check for *_, check in PLANTED}


def test_the_documentation_lists_every_fault():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    for plant in {plant for plant, *_ in [*PLANTED, *INVISIBLE]}:
        assert plant.__name__.replace("_", " ") in page
    for *_, check in PLANTED:
        assert check in page


def test_what_strict_promises_stops_a_run(monkeypatch):
    given = cohorts.a_patient_in_two_splits(scenes.visits(), monkeypatch)
    findings = integrity.findings(given)
    assert not verdict.failed([found for found in findings if found.stops])
    with pytest.raises(errors.AuditError, match="patients across splits"):
        verdict.require(audit.run(given))


def test_the_paper_protocol_fails_where_it_should():
    scene = scenes.discharge()
    cohort = tasks.build(scene.records, "readmission30", "paper")
    failed = {
        found.check
        for found in verdict.failed(audit.run(scenes.look(scene._replace(cohort=cohort))))
    }
    assert {"patients across splits", FITTED, HELD_OUT} <= failed


def test_audit_json_says_what_stops_and_how_many_exactly(monkeypatch):
    given = cohorts.a_patient_in_two_splits(scenes.visits(), monkeypatch)
    checks = {one["check"]: one for one in verdict.as_json(audit.run(given))["checks"]}
    across = checks["patients across splits"]
    assert across["stops"] and across["status"] == "fail"
    assert across["count"] == len(across["rows"]) == 1 and across["message"].startswith("<10 pat")
    assert not checks["prevalence by split"]["stops"]
