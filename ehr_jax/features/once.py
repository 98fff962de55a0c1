"""What the samples of a cohort may use: each part is made once, when it is first asked for."""

import dataclasses
import functools

import polars as pl

from ehr_jax.cohorts import cohort as cohorts
from ehr_jax.features import arrays, known, measured, series, variables
from ehr_jax.records.common import tables


@dataclasses.dataclass(frozen=True)
class Known:
    """The parts of `features.known` of one cohort; each raw table is read once at most.

    Attributes:
      records, cohort: what it is of.
      wanted: what is taken of the measurements.
    """

    records: tables.Records
    cohort: cohorts.Cohort
    wanted: measured.Wanted

    @functools.cached_property
    def codes(self) -> pl.DataFrame:
        """As of `known.codes`."""
        return known.codes(self.records, self.cohort)

    @functools.cached_property
    def earlier_codes(self) -> pl.DataFrame:
        """As of `known.earlier_codes`."""
        return known.earlier_codes(self.records, self.cohort)

    @functools.cached_property
    def earlier_visits(self) -> pl.DataFrame:
        """As of `known.earlier_visits`."""
        return known.earlier_visits(self.records, self.cohort)

    @functools.cached_property
    def attributes(self) -> pl.DataFrame:
        """As of `known.attributes`."""
        return known.attributes(self.records, self.cohort)

    @functools.cached_property
    def scores(self) -> pl.DataFrame:
        """As of `known.scores`."""
        return known.scores(self.records, self.cohort)

    @functools.cached_property
    def written(self) -> pl.DataFrame:
        """`tables.NOTES` of all visits that are looked at, whenever they were written."""
        visits = [self.cohort.samples["visit_id"]]
        if self.wanted.visits is not None:
            visits.append(self.wanted.visits.rename("visit_id"))
        of_visit = pl.col("visit_id").is_in(pl.concat(visits).unique().implode())
        return self.records.notes.filter(of_visit).collect()

    @functools.cached_property
    def note_rows(self) -> pl.DataFrame:
        """As of `known.note_rows`."""
        read = dataclasses.replace(self.records, notes=self.written.lazy())
        return known.note_rows(read, self.cohort)

    @functools.cached_property
    def notes(self) -> pl.DataFrame:
        """As of `known.notes`."""
        return known.as_texts(self.note_rows)

    @functools.cached_property
    def measured(self) -> measured.Measured:
        """What is wanted of the measurements."""
        return measured.read(self.records, self.cohort, self.wanted)

    @property
    def last_measurements(self) -> pl.DataFrame:
        """As of `known.last_measurements`."""
        return known.as_facts(self.measured.last)

    def grid(self, scale: series.Scale | None = None) -> series.Series:
        """Returns the series of the samples, as of `series.build`."""
        wanted = self.wanted
        return series.build(
            self.records,
            self.cohort,
            wanted.variables,
            wanted.step_hours,
            wanted.length,
            scale,
            lambda: self.measured.cells,
        )

    def alone(self, records: tables.Records, samples: pl.DataFrame) -> "Known":
        """Returns what is known of some of the samples by the records of their patients alone.

        They are numbered anew. Measurements, each sample's of its own visit, are not read again.
        """
        numbered = samples.with_columns(sample_id=pl.int_range(pl.len(), dtype=pl.Int64))
        cohort = dataclasses.replace(self.cohort, samples=numbered)
        other = dataclasses.replace(self, records=records, cohort=cohort)
        if self.wanted.last:
            numbers = samples.select("sample_id").with_row_index("number")
            last = self.measured.last.join(numbers.cast(pl.Int64), on="sample_id")
            last = last.with_columns(sample_id="number").drop("number")
            vars(other)["measured"] = self.measured._replace(last=last, cells=None)
        return other

    def of(self, cohort: cohorts.Cohort) -> "Known":
        """Returns what is known of the same samples, split otherwise; nothing is read again."""
        other = dataclasses.replace(self, cohort=cohort)
        parts = vars(self).keys() - {field.name for field in dataclasses.fields(self)}
        vars(other).update({name: vars(self)[name] for name in parts})
        return other


def known_of(
    records: tables.Records,
    cohort: cohorts.Cohort,
    config,
    reads: arrays.Reads,
    visits: pl.Series | None = None,
) -> Known:
    """Returns what is known of `cohort`, as far as methods read it.

    Args:
      visits: others beside the cohort's, whose rows the audit looks at.
    """
    asked, chosen = config.series, ()
    if asked.variables and (reads.series or reads.knowledge):
        chosen = variables.named(asked.variables)
    last = bool(config.features.measurements)
    wanted = measured.Wanted(chosen, asked.step_hours, asked.length, last, visits)
    return Known(records, cohort, wanted)
