"""Full-size MIMIC-III files become a cohort's grid of 48 h x 17 variables: ours against pandas.

    python benchmarks/records.py --rows=330000000 --folder=FOLDER

Writes a simulated hospital in the schema of MIMIC-III (kept in FOLDER and used again), reads it by
`mimic3.read` -> cohort `mortality` -> `series.build`, then does the same in pandas: `read_csv` with
chunksize, the wanted items kept, units and limits applied, the last value of each cell, carried
forward. Each runs in a process of its own that reports its peak of resident memory; the two grids
must be equal. pandas is given the cohort (ours is timed making it), on one machine, in one run.
"""

import argparse
import gzip
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

LIMIT_GB = 6.0
AIM = 5.0  # times the rows per second of pandas
TABLES = ("CHARTEVENTS", "LABEVENTS")


def main() -> int:
    arguments = _arguments()
    if arguments.step:
        return STEPS[arguments.step](arguments)
    data = arguments.folder / f"mimic_{arguments.rows}_seed{arguments.seed}{arguments.suffix}"
    if not data.exists():
        _step("write", arguments, data)
    _say(f"{data.name}: {_table(data, 'CHARTEVENTS').stat().st_size / 1e9:.1f} GB of chart rows")
    rows = arguments.rows
    if arguments.only == "write":
        return 0
    if arguments.only in ("", "ours"):
        _step("ours", arguments, data)
    peer_rows = min(rows, arguments.peer_rows or rows)
    if arguments.suffix == ".parquet":
        _say("pandas has no chunks of parquet: the comparison is with .csv.gz or .csv")
        return _judge(arguments, data, None)
    part = data
    if peer_rows < rows:
        part = data.with_name(f"first_{peer_rows}_of_{data.name}")
        if not part.exists():
            _step("cut", arguments, data, part, peer_rows)
        if arguments.only in ("", "ours"):
            _step("ours", arguments, part)
    if arguments.only in ("", "peer"):
        if not _result(part, "ours"):
            _step("ours", arguments, part)  # which makes the cohort
        _step("peer", arguments, part)
    return _judge(arguments, data, part)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=3_000_000, help="of CHARTEVENTS")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for files and results")
    parser.add_argument("--suffix", default=".csv.gz", choices=(".csv.gz", ".csv", ".parquet"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", choices=("", "write", "ours", "peer"))
    parser.add_argument("--peer_rows", type=int, default=0, help="first rows for pandas; 0: all")
    parser.add_argument("--step", default="", choices=("", *STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.absolute()
    return arguments


def _step(step: str, arguments, data, part=None, rows=None) -> None:
    """Runs a step in a process of its own, so that its memory is its own."""
    if step in ("ours", "peer"):
        _warm(data)
    given = {"folder": arguments.folder, "data": data, "part": part, "seed": arguments.seed}
    given |= {"rows": rows or arguments.rows, "suffix": arguments.suffix, "step": step}
    flags = [f"--{name}={value}" for name, value in given.items() if value is not None]
    subprocess.run([sys.executable, os.path.abspath(__file__), *flags], check=True)


def _warm(data: pathlib.Path) -> None:
    # Both are to find the file in the system's cache, as far as it has room.
    with open(_table(data, "CHARTEVENTS"), "rb") as file:
        while file.read(1 << 24):
            pass


def _judge(arguments, data: pathlib.Path, part: pathlib.Path | None) -> int:
    """Prints what was measured; returns 1 where a grid differs or the memory was too much."""
    good = True
    for folder in dict.fromkeys((data, part)):
        for who in ("ours", "peer"):
            if folder and (found := _result(folder, who)):
                _say(
                    f"{who:5} {found['chart_rows']:>12,} chart rows  {found['seconds']:8.1f} s  "
                    f"{found['chart_rows'] / found['seconds'] / 1e6:6.2f} M rows/s  "
                    f"CPU {found['cpu_seconds']:.1f} s  peak {found['peak_gb']:.2f} GB  "
                    f"grid {found['shape']}  {found['steps'] or ''}"
                )
                if who == "ours" and found["peak_gb"] >= LIMIT_GB:
                    _say(f"above {LIMIT_GB} GB of resident memory")
                    good = False
    if part and (ours := _result(part, "ours")) and (peer := _result(part, "peer")):
        same = peer["seconds"] / ours["steps"]["series"]
        whole = peer["seconds"] / ours["seconds"]
        _say(
            f"ratio {same:.2f} of the same work, the grid of a given cohort from the same "
            f"{ours['chart_rows']:,} chart rows (aim {AIM:g}); {whole:.2f} with reading the other "
            "tables and making the cohort on our side alone"
        )
        good &= _same_grids(part)
    return 0 if good else 1


def _same_grids(part: pathlib.Path) -> bool:
    import numpy as np

    with np.load(_file(part, "ours", "npz")) as ours, np.load(_file(part, "peer", "npz")) as peer:
        same = {}
        for name in ("values", "observed", "hours_since"):
            same[name] = bool(np.array_equal(ours[name], peer[name], equal_nan=name == "values"))
        cells = int(ours["observed"].sum())
    verdict = "equal" if all(same.values()) else f"DIFFERENT: {same}"
    _say(f"grids {verdict}: values, observed, hours_since; {cells:,} cells observed")
    return all(same.values())


def _file(data: pathlib.Path, who: str, kind: str) -> pathlib.Path:
    return data.with_name(f"{data.name}.{who}.{kind}")


def _result(data: pathlib.Path, who: str) -> dict | None:
    path = _file(data, who, "json")
    return json.loads(path.read_text()) if path.exists() else None


def _table(data: pathlib.Path, stem: str) -> pathlib.Path:
    return next(path for path in data.iterdir() if path.name.startswith(f"{stem}."))


def _say(text: str) -> None:
    print(text, flush=True)


def _peak_gb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


# The steps, each a process.


def _write(arguments) -> int:
    from ehr_jax.synthetic import release as synthetic_release

    began = time.perf_counter()
    synthetic_release.write(arguments.data, arguments.rows, arguments.seed, arguments.suffix)
    took = time.perf_counter() - began
    _say(
        f"written in {took:.0f} s, {arguments.rows / took / 1e6:.2f} M rows/s, peak "
        f"{_peak_gb():.2f} GB"
    )
    return 0


def _cut(arguments) -> int:
    """Makes a folder that holds the first rows of CHARTEVENTS and the other tables."""
    unfinished = arguments.part.with_name(f".{arguments.part.name}")
    unfinished.mkdir(exist_ok=True)
    for path in arguments.data.iterdir():
        target = unfinished / path.name
        target.unlink(missing_ok=True)
        if not path.name.startswith("CHARTEVENTS"):
            os.link(path, target)
            continue
        zipped = path.suffix == ".gz"
        with (
            gzip.open(path, "rb") if zipped else open(path, "rb") as source,
            gzip.open(target, "wb", 1) if zipped else open(target, "wb") as cut,
        ):
            left = arguments.rows + 1  # with the header
            while left and (text := source.read(1 << 24) + source.readline()):
                held = text.count(b"\n")
                if held > left:
                    text = b"".join(text.splitlines(keepends=True)[:left])
                cut.write(text)
                left -= min(held, left)
    os.replace(unfinished, arguments.part)
    return 0


def _ours(arguments) -> int:
    import numpy as np

    from ehr_jax.cohorts import tasks
    from ehr_jax.features import series, variables
    from ehr_jax.records.mimic import mimic3

    times = [time.perf_counter()]
    records = mimic3.read(arguments.data)
    times.append(time.perf_counter())
    cohort = tasks.build(records, "mortality")
    times.append(time.perf_counter())
    found = series.build(records, cohort, variables.named("mimic17"), 1.0, 48)
    times.append(time.perf_counter())
    steps = dict(zip(("read", "cohort", "series"), np.diff(times).round(2).tolist(), strict=True))
    chart_rows = _chart_rows(arguments)
    _keep(arguments.data, "ours", chart_rows, times[-1] - times[0], found.values.shape, steps)
    cohort.samples.select("visit_id", "prediction_time").write_parquet(
        _file(arguments.data, "cohort", "parquet")
    )
    np.savez(
        _file(arguments.data, "ours", "npz"),
        values=found.values,
        observed=found.observed,
        hours_since=found.hours_since,
        present=found.present,
        mean=found.scale.mean,
        std=found.scale.std,
        median=found.scale.median,
    )
    return 0


def _chart_rows(arguments) -> int:
    name = arguments.data.name
    return int(name.split("_")[1])  # mimic_ROWS_..., first_ROWS_of_...


def _keep(data, who: str, chart_rows: int, seconds: float, shape, steps: dict) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {"chart_rows": chart_rows, "seconds": seconds, "peak_gb": _peak_gb()}
    found |= {"cpu_seconds": used.ru_utime + used.ru_stime}
    found |= {"shape": " x ".join(map(str, shape)), "steps": steps}
    _file(data, who, "json").write_text(json.dumps(found))


def _peer(arguments) -> int:
    import numpy as np
    import polars as pl
    import records_pandas

    from ehr_jax.features import series, variables

    samples = pl.read_parquet(_file(arguments.data, "cohort", "parquet"))
    chart_rows = _chart_rows(arguments)
    paths = {stem: _table(arguments.data, stem) for stem in TABLES}
    plan = records_pandas.plan(samples, variables.named("mimic17"))
    began = time.perf_counter()
    values, observed, hours_since = records_pandas.grid(paths, plan, chart_rows)
    seconds = time.perf_counter() - began
    _keep(arguments.data, "peer", chart_rows, seconds, observed.shape, {})
    # For the comparison, not timed: scaled and padded as ours.
    with np.load(_file(arguments.data, "ours", "npz")) as ours:
        scale = series.Scale(ours["mean"], ours["std"], ours["median"])
        padding = ~ours["present"][:, :, None]
    np.savez(
        _file(arguments.data, "peer", "npz"),
        values=np.where(padding, np.float32(0), series.scaled(values, scale)),
        observed=observed & ~padding,
        hours_since=np.where(padding, np.float32(0), hours_since),
    )
    return 0


STEPS = {"write": _write, "cut": _cut, "ours": _ours, "peer": _peer}

if __name__ == "__main__":
    sys.exit(main())
