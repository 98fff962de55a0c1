"""Progress of long work: a bar with an ETA on a terminal, a plain line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import rich.console
import rich.progress

from ehr_jax import terminal

PLAIN_SECONDS = 10.0  # between two plain lines, so that a log file stays readable


class Progress:
    """Counts `total` units of work; call `advance(n, note)` as they are done."""

    def __init__(
        self, label: str, total: int, done: int = 0, bar: rich.progress.Progress | None = None
    ):
        label = terminal.line(label)
        self.label, self.total, self.done = label, total, done
        self._first, self._began, self._last = done, time.monotonic(), time.monotonic()
        self._bar = bar
        self._task = bar.add_task(label, total=total, completed=done, note="") if bar else None

    def advance(self, units: int, note: str = "") -> None:
        """Marks `units` more as done; `note` is a short text shown beside them."""
        self.done += units
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, note=terminal.line(note))
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_SECONDS or self.done >= self.total:
            self._last = now
            print(
                f"{self.label}: {self.done}/{self.total}{self._eta(now)} {note}".rstrip(),
                flush=True,
            )

    def skip(self, units: int) -> None:
        """Marks `units` more as done by an earlier start: they tell nothing of the pace."""
        self._first += units
        self.done += units
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done)

    def _eta(self, now: float) -> str:
        worked = self.done - self._first
        if worked <= 0 or self.done >= self.total:
            return f", {now - self._began:.0f} s"
        left = (now - self._began) / worked * (self.total - self.done)
        return f", {left:.0f} s left"


@contextmanager
def progress(label: str, total: int, done: int = 0) -> Iterator[Progress]:
    """Opens a `Progress`; `done` units were finished by an earlier start.

    Several may be open at once, in several threads too: a terminal shows their bars together.
    """
    if not sys.stdout.isatty():
        yield Progress(label, total, done)
        return
    with _LOCK:
        if not _OPEN:
            _OPEN.append(_bars())
            _OPEN[0].start()
            terminal.install()  # around the bars' own streams, which go when they stop
        _OPEN.append(bars := _OPEN[0])
    try:
        yield Progress(label, total, done, bars)
    finally:
        with _LOCK:
            _OPEN.pop()
            if len(_OPEN) == 1:
                _OPEN.pop().stop()


# A terminal has room for one display: here it is, once, and once more for each that is open.
_OPEN: list[rich.progress.Progress] = []
_LOCK = threading.Lock()


def _bars() -> rich.progress.Progress:
    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[note]}", markup=False),
    )
    return rich.progress.Progress(
        *columns, console=rich.console.Console(file=terminal.raw(sys.stdout))
    )
