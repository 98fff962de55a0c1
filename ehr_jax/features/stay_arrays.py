"""The arrays of stays, and the form in which they are written to files."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays, as_columns, prepare, retrieved, texts
from ehr_jax.features import fitted as fitted_parts

# What stands in front of the names of the hypergraph's arrays.
VISIT = "visit_"


@dataclasses.dataclass(frozen=True)
class StayArrays:
    """Samples of a cohort as padded, masked arrays.

    Attributes:
      stays: the fields of `models.inputs.Stays`, each [sample, ...]; an axis of a modality that is
        not used, or that the records have not, has length 0.
      variables: names of the grid's features.
      fitted: what was fitted to training samples.
      labels, label_names, split, subjects, counts: as in `prepare.Arrays`.
      retrieved: what stands behind `stays["knowledge"]`, None where it is not used.
      visits: the same samples as hyperedges over the codes known by then, without notes; None where
        config.realm.use_visit is False. `stays["visit"]` is empty: the state of a hyperedge is a
        network's to find (`training.unified_problem`); `stays["has_visit"]` says which have one.
      survival: [sample, day] float32, whether the patient died within each of
        config.realm.survival_days, nan where it is not learned (`features.survival`); no input.
      scores: name to [sample] float64, what the source itself predicted, nan where it did not; no
        network is given them.
    """

    stays: Mapping[str, np.ndarray]
    variables: tuple[str, ...]
    fitted: fitted_parts.Fitted
    labels: np.ndarray
    survival: np.ndarray
    label_names: tuple[str, ...]
    split: np.ndarray
    subjects: np.ndarray
    counts: Mapping
    retrieved: retrieved.Retrieved | None
    visits: prepare.Arrays | None = None
    scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def targets(self) -> np.ndarray:
        """[sample, label and survival day] float32, nan where not known."""
        return np.concatenate([self.labels, self.survival], axis=1)

    def with_targets(self, targets: np.ndarray) -> "StayArrays":
        """Returns the same samples with other labels and survival days to learn."""
        labels, survival = np.split(targets.astype(np.float32), [self.labels.shape[1]], axis=1)
        return dataclasses.replace(self, labels=labels, survival=survival)

    def read_by(self, config) -> "StayArrays":
        """Returns the same samples without the series or statics that config.realm switches off."""
        off = () if config.realm.use_series else ("values", "observed", "elapsed", "hours")
        off += () if config.realm.use_statics else ("statics",)
        emptied = {name: self.stays[name][:, :0] for name in off}
        return dataclasses.replace(self, stays={**self.stays, **emptied})

    def columns(self) -> arrays.Columns:
        """Returns nodes, statics and statistics of each variable."""
        return as_columns.of_stays(self)

    def only(self, reads: arrays.Reads) -> "StayArrays":
        """Returns the samples as `stays.prepare_stays` makes them for `reads`."""
        fields, counts = dict(self.stays), dict(self.counts)
        changed: dict = {}
        fitted = self.fitted
        if not reads.series:
            for name in ("values", "observed", "elapsed"):
                fields[name] = np.zeros((len(self.labels), 0, 0), np.float32)
            fields |= {"hours": fields["hours"][:, :0], "steps": np.zeros_like(fields["steps"])}
            counts["series"], changed["variables"] = {"variables": 0, "steps": 0}, ()
        if not (reads.series or reads.knowledge):
            fitted = fitted._replace(scale=None, usual=None)
        if not reads.statics:
            fields["statics"], counts["statics"] = fields["statics"][:, :0], 0
        if not reads.texts:
            fields |= _emptied(fields, "notes", "note")
            counts["notes"] = texts.NONE | {"pieces": 0}
            fitted = fitted._replace(note_size=1.0)
        if not reads.knowledge:
            fields |= _emptied(fields, "knowledge", "knowledge")
            counts.pop("knowledge", None)
            fitted, changed["retrieved"] = fitted._replace(knowledge_size=1.0), None
        if not (reads.texts or reads.knowledge):
            fields |= {name: fields[name][..., :0] for name in ("notes", "knowledge")}
        if not reads.visits:
            counts.pop("visits", None)
            changed["visits"], fields["has_visit"] = None, np.zeros_like(fields["has_visit"])
        elif self.visits is not None:
            of_codes = arrays.Reads(visits=True, names=reads.names, structure=reads.structure)
            changed["visits"] = self.visits.only(of_codes)
        if not reads.encoder:
            counts["encoder"] = {"name": "none"}
        return dataclasses.replace(self, stays=fields, counts=counts, fitted=fitted, **changed)

    def stored(self) -> arrays.Stored:
        """Returns the arrays as they are written to files; `restore` is its inverse."""
        samples = {**self.stays, "survival": self.survival}
        samples["scores"] = np.stack([*self.scores.values()], axis=1) if self.scores else None
        facts = {
            "variables": list(self.variables),
            "fitted": fitted_parts.as_json(self.fitted),
            "counts": dict(self.counts),
            "scores": list(self.scores),
            "retrieved": None,
            "visits": None,
        }
        ragged, whole, meanings = {}, {}, dict(MEANINGS)
        if self.retrieved is not None:
            ragged, facts["retrieved"] = retrieved.as_stored(self.retrieved, len(self.labels))
        if self.visits is not None:
            visits = self.visits.stored()
            ragged |= {f"{VISIT}{name}": part for name, part in visits.ragged.items()}
            whole = {f"{VISIT}{name}": part for name, part in visits.whole.items()}
            meanings |= {f"{VISIT}{name}": text for name, text in visits.meanings.items()}
            facts["visits"] = dict(visits.facts)
            facts["vocabulary"] = visits.facts["vocabulary"]
        samples = {name: part for name, part in samples.items() if part is not None}
        return arrays.Stored(samples, ragged, whole, facts, meanings)

    def parts(self) -> arrays.Parts:
        """Returns the arrays by name, those of the hypergraph behind "visit, "."""
        inputs = {name: np.asarray(array) for name, array in self.stays.items()}
        inputs |= {f"score '{name}'": score for name, score in self.scores.items()}
        fitted = {
            name: np.array(repr(part)) for name, part in fitted_parts.as_json(self.fitted).items()
        }
        if self.visits is not None:
            of_codes = self.visits.parts()
            inputs |= {f"visit, {name}": array for name, array in of_codes.inputs.items()}
            fitted |= {f"visit, {name}": part for name, part in of_codes.fitted.items()}
        return arrays.Parts(inputs, {"survival": self.survival}, fitted)


def restore(stored: arrays.Stored, cohort: cohorts.Cohort) -> StayArrays:
    """Returns the arrays of `cohort` that `StayArrays.stored` took apart."""
    facts, fields = stored.facts, dict(stored.samples)
    survival, scores = fields.pop("survival"), fields.pop("scores", None)
    found, visits = None, None
    if facts["retrieved"] is not None:
        found = retrieved.restore(stored.ragged, facts["retrieved"])
    if facts["visits"] is not None:
        names = len(VISIT)
        of_codes = arrays.Stored(
            samples={},
            ragged={n[names:]: part for n, part in stored.ragged.items() if n.startswith(VISIT)},
            whole={name[names:]: part for name, part in stored.whole.items()},
            facts=facts["visits"],
            meanings={},
        )
        visits = prepare.restore(of_codes, cohort)
    return StayArrays(
        stays=fields,
        variables=tuple(facts["variables"]),
        fitted=fitted_parts.from_json(facts["fitted"]),
        survival=survival,
        counts=facts["counts"],
        retrieved=found,
        visits=visits,
        scores={name: scores[:, column] for column, name in enumerate(facts["scores"])},
        **arrays.of_cohort(cohort),
    )


def _emptied(fields: Mapping[str, np.ndarray], vectors: str, stem: str) -> dict[str, np.ndarray]:
    """The vectors of a modality with their hours and mask, without a slot."""
    names = (vectors, f"{stem}_hours", f"{stem}_mask")
    return {name: fields[name][:, :0] for name in names}


MEANINGS = {
    "values": "[step, feature]: (value - mean) / std, carried forward; categories one-hot",
    "observed": "[step, feature]: 1 where it was measured in the step",
    "elapsed": "[step, feature]: hours since the last measurement",
    "hours": "[step]: hours from the start of the grid to the end of the step",
    "steps": "steps that are not padding; the last one ends at the prediction time",
    "statics": "the patient's attributes, scaled by training samples",
    "notes": "[piece, width]: vectors of the pieces of notes",
    "note_hours": "[piece]: hours from the start of the grid",
    "note_mask": "[piece]: 1 where there is a piece",
    "knowledge": "[entity, width]: vectors of what the graph says of entities",
    "knowledge_hours": "[entity]: hours from the start of the grid",
    "knowledge_mask": "[entity]: 1 where there is an entity",
    "has_visit": "1 where a code of the visit is known",
    "survival": "[day]: whether the patient died within it; an auxiliary target",
    "scores": "what the source itself predicted; no input",
    "entity_nodes": "nodes of the knowledge graph that the sample names",
    "entity_hours": "hours from the start of the grid at which each is named first",
}
