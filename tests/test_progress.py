import io

import polars as pl
import rich.console

from ehr_jax import progress
from ehr_jax.records.common import reading, reading_progress

COLUMNS = {"a": pl.Int64}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_open_at_once_share_the_terminal(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    console = rich.console.Console
    monkeypatch.setattr(
        "rich.console.Console", lambda file: console(file=file, force_terminal=True, width=100)
    )
    outer = progress.progress("first table", 3)
    with outer as first:
        with progress.progress("second table", 2) as second:
            first.advance(2)
            second.advance(2, "done")
        first.advance(1)
    assert "first table" in shown.getvalue() and "second table" in shown.getvalue()
    assert "3/3" in shown.getvalue() and "2/2" in shown.getvalue()
    assert not progress._OPEN


def test_large_table_tells_how_far_it_is_read(monkeypatch, capsys, tmp_path):
    path = tmp_path / "chart.csv"
    path.write_text("a,b\n" + "1,some words\n" * 200_000)
    reading.scan(path, COLUMNS).collect()
    assert not capsys.readouterr().out
    monkeypatch.setattr(reading_progress, "LARGE", 1)
    reading.scan(path, COLUMNS).collect()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("chart.csv: 2/2") and line.endswith("MB, 200,000 rows")
