"""--mode=sweep with config.sweep.optuna: one study for several processes, kills, odd journals."""

import importlib.util
import json
import pathlib
import sys
import threading
import time

import polars as pl
import pytest
import small_sweep

from ehr_jax import config as base
from ehr_jax import errors, main, stored
from ehr_jax.models import registry
from ehr_jax.sweeps import journal as sweep_journal
from ehr_jax.sweeps import keys as sweep_keys
from ehr_jax.sweeps import study as sweep_optuna

needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="Optuna is not installed: extra 'optuna'"
)
RANGES = {
    "train": {"learning_rate": ("log", 1e-4, 1e-1), "positive_weight": ("choice", "1", 3.0)},
    "model": {"dropout": ("uniform", 0.0, 0.5), "depth": ("integer", 0, 2)},
}


def spec(path: pathlib.Path, **keys):
    """The defaults of a method with a study of six draws, and `keys` of config.sweep."""
    config = registry.configure(base.defaults(), "hypehr")
    config.sweep.ranges, config.sweep.draws, config.sweep.seeds = RANGES, 6, (0,)
    config.sweep.optuna = str(path)
    config.train.population = 2
    for key, value in keys.items():
        config.sweep[key] = value
    return config


@pytest.fixture
def journal(tmp_path) -> pathlib.Path:
    return tmp_path / "journal.log"


@pytest.fixture
def batches(monkeypatch):
    """Trials a batch, with no data to measure them by."""
    monkeypatch.setattr(sweep_optuna, "_size", lambda config, networks: config.train.population)


class Process:
    """One process of a study, without its training."""

    def __init__(self, config, name: str):
        self.config, self.name = config, name
        self.study = sweep_journal.join(config)
        self.study.set_user_attr(sweep_journal.sign(name), time.time())

    def ask(self) -> dict[int, dict]:
        batch = sweep_optuna._asked(self.config, self.study, None, self.name)
        return {number: sweep_journal.values(trial) for number, trial in batch.items()}

    def unfinished(self) -> list[int]:
        return sorted(sweep_journal.unfinished(self.study, self.name))

    def tell(self, numbers, value: float = 0.5) -> None:
        for number in numbers:
            self.study.tell(number, value)

    def count(self, state: str) -> int:
        return len(sweep_journal.trials(self.study, state))


def test_without_the_package_its_install_is_told(journal, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(errors.ConfigError, match="not installed: pip install 'optuna>=4'"):
        sweep_optuna.check(spec(journal))


@needs_optuna
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"grid": {"train": {"clip": (1.0, 2.0)}}},
            "config.sweep.grid and config.sweep.optuna are given",
        ),
        ({"halving": (50,)}, "config.sweep.halving and config.sweep.optuna"),
        ({"pbt_every": 10}, "config.sweep.pbt_every and"),
        ({"ranges": {}}, "config.sweep.ranges is empty; say what the study draws from"),
        ({"draws": 0}, "config.sweep.draws is 0"),
        ({"seed": -1}, "config.sweep.seed is -1"),
        (
            {"ranges": {"model": {"dropout": ("uniform", 0.0, 1.5)}}},
            "model.dropout is 1.5",
        ),
        ({"ranges": {"model": {"depth": ("uniform", 0.0, 1.5)}}}, "expected a whole number"),
        ({"ranges": {"model": {"dept": ("integer", 0, 1)}}}, "Did you mean 'model.depth'"),
    ],
)
def test_what_cannot_be_a_study_is_refused(keys, words, journal):
    with pytest.raises(errors.ConfigError, match=words):
        sweep_optuna.check(spec(journal, **keys))
    assert not journal.exists()


@needs_optuna
def test_trials_lie_in_their_ranges_and_the_same_seed_draws_the_same(tmp_path, batches):
    drawn = []
    for name in ("a", "b"):
        process, found = Process(spec(tmp_path / name, draws=24), "one"), {}
        while batch := process.ask():
            process.tell(batch)
            found |= batch
        drawn.append(found)
    assert drawn[0] == drawn[1] and sorted(drawn[0]) == list(range(24))
    ranges = sweep_keys.ranges(spec(tmp_path))
    for values in drawn[0].values():
        assert values.keys() == ranges.keys()
        assert 1e-4 <= values["train.learning_rate"] <= 1e-1
        assert 0 <= values["model.dropout"] <= 0.5 and values["model.depth"] in (0, 1, 2)
        assert values["train.positive_weight"] in ("1", 3.0)
    other = Process(spec(tmp_path / "c", draws=24, seed=5), "one").ask()
    assert other[0] != drawn[0][0]


@needs_optuna
@pytest.mark.parametrize(
    "end", [b"null\n", b"[]\n", b"{}\n", b"\xff\n", b'{"op_code": 99, "worker_id": ""}\n']
)
def test_a_journal_damaged_behind_its_first_line_is_refused(journal, end):
    sweep_journal.join(spec(journal))
    journal.write_bytes(journal.read_bytes() + end)
    with pytest.raises(errors.ConfigError, match="a damaged one; name another"):
        sweep_journal.join(spec(journal))


@needs_optuna
def test_a_line_that_was_cut_off_is_left_out_and_written_onto_by_nobody(
    journal, batches, monkeypatch, capsys
):
    monkeypatch.setattr(sweep_journal, "BLOCK", 7)
    part = b'{"op_code": 2, "worker_id": "' + b"x" * 20
    alive = Process(spec(journal), "alive")
    journal.write_bytes(journal.read_bytes() + part)
    late = Process(spec(journal), "late")
    assert "the last line was cut off" in capsys.readouterr().out
    journal.write_bytes(journal.read_bytes() + part)
    drawn = [alive.ask(), late.ask()]
    assert sorted(number for batch in drawn for number in batch) == list(range(4))
    assert all(json.loads(line)["op_code"] in range(11) for line in journal.open())
    assert Process(spec(journal), "third").count("RUNNING") == 4


@needs_optuna
def test_processes_draw_apart_and_no_more_than_all_draws(journal, batches):
    one, two = Process(spec(journal), "one"), Process(spec(journal), "two")
    drawn = [one.ask(), two.ask(), one.ask(), two.ask(), one.ask()]
    assert [len(batch) for batch in drawn] == [2, 2, 2, 0, 0]
    assert len({repr(values) for batch in drawn for values in batch.values()}) == 6
    assert sorted(number for batch in drawn for number in batch) == list(range(6))


@needs_optuna
def test_processes_that_ask_at_once_draw_no_more_than_all(journal, batches):
    drawn = {}

    def ask(name):
        process = Process(spec(journal, draws=7), name)
        drawn[name] = {}
        while batch := process.ask():
            drawn[name] |= batch

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [number for batch in drawn.values() for number in batch]
    assert len(numbers) == len(set(numbers)) == 7
    assert Process(spec(journal, draws=7), "four").count("RUNNING") == 7


@needs_optuna
def test_trials_of_a_silent_process_are_given_up_and_drawn_anew(journal, batches, capsys):
    dead, alive = Process(spec(journal), "dead"), Process(spec(journal), "alive")
    lost = dead.ask()
    while batch := alive.ask():
        alive.tell(batch)
    assert alive.count("COMPLETE") == 4  # those of the other may end yet
    dead.study.set_user_attr(sweep_journal.sign("dead"), time.time() - 2 * sweep_journal.SILENT)
    again = alive.ask()
    assert len(again) == 2 and not set(again) & set(lost)
    assert "trial 0 is given up: its process was silent for 20 minutes" in capsys.readouterr().out
    assert dead.unfinished() == []  # so that it does not train them either


@needs_optuna
def test_a_process_started_again_goes_on_with_its_own_batch(journal, batches):
    first = Process(spec(journal), "one")
    asked = first.ask()
    Process(spec(journal), "two").ask()
    again = Process(spec(journal), "one")
    assert again.unfinished() == sorted(asked)
    # Killed while it told: the batch is the same one.
    again.tell([min(asked)])
    assert Process(spec(journal), "one").unfinished() == sorted(asked)


@needs_optuna
def test_what_a_killed_start_only_began_to_ask_is_drawn_anew(journal, batches):
    process = Process(spec(journal, draws=2), "one")
    process.study.ask().set_user_attr("process", "one")
    assert process.unfinished() == []
    assert sorted(process.ask()) == [1, 2]
    assert process.count("FAIL") == 1


@needs_optuna
def test_a_study_of_another_config_or_other_records_is_refused(journal, tmp_path):
    config = spec(journal)
    study = sweep_journal.join(config)
    config.sweep.draws, config.train.population = 60, 7  # each process its own
    sweep_journal.join(config)
    config.train.steps = 7
    with pytest.raises(errors.ConfigError, match="another config .train.steps: 500 there, 7 now"):
        sweep_journal.join(config)
    sweep_journal.agree(study, journal, "data", {"fingerprint": "a"})
    with pytest.raises(errors.ConfigError, match="a study of other records .fingerprint: a there"):
        sweep_journal.agree(study, journal, "data", {"fingerprint": "b"})


@needs_optuna
def test_a_run_folder_whose_study_was_removed_is_refused(journal, tmp_path):
    study = sweep_journal.join(spec(journal))
    own = sweep_journal.name_of(study, tmp_path)
    assert sweep_journal.name_of(study, tmp_path) == own
    other = sweep_journal.join(spec(tmp_path / "other.log"))
    assert sweep_journal.name_of(other, tmp_path) != own  # nothing is trained yet
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(errors.RunFolderError, match="holds trials of a study that"):
        sweep_journal.name_of(study, tmp_path)


@needs_optuna
@pytest.mark.parametrize("text", ["not a journal\n", "{}\n", "[1]\n"])
def test_a_file_that_is_no_journal_is_refused_and_left(text, journal):
    journal.write_text(text)
    with pytest.raises(errors.ConfigError, match="is no journal of Optuna"):
        sweep_journal.join(spec(journal))
    assert journal.read_text() == text


@needs_optuna
def test_a_journal_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(errors.ConfigError, match="missing/journal.log cannot be written: No such"):
        sweep_journal.join(spec(tmp_path / "missing" / "journal.log"))


@needs_optuna
def test_a_sign_of_life_is_given_again_and_again(journal, monkeypatch):
    monkeypatch.setattr(sweep_journal, "BEAT", 0.01)
    study = sweep_journal.join(spec(journal))
    with sweep_journal.alive(study, "one"):
        first = study.user_attrs[sweep_journal.sign("one")]
        for _ in range(500):
            if study.user_attrs[sweep_journal.sign("one")] > first:
                break
            time.sleep(0.01)
    assert study.user_attrs[sweep_journal.sign("one")] > first


def command(journal, workdir) -> list[str]:
    ranges = {
        "train": {"learning_rate": ("log", 1e-4, 1e-1)},
        "model": {"dropout": ("choice", 0, 0.5)},
    }
    return [
        *small_sweep.ARGUMENTS,
        "--config.train.population=4",
        f"--config.sweep.ranges={ranges}",
        f"--config.sweep.optuna={journal}",
        "--config.sweep.draws=4",
        f"--workdir={workdir}",
    ]


@needs_optuna
@pytest.mark.slow
def test_a_killed_study_ends_as_the_unbroken_one_and_another_process_agrees(
    tmp_path, monkeypatch, capsys
):
    assert main.main(command(tmp_path / "whole.log", tmp_path / "whole")) == 0
    whole = pl.read_parquet(tmp_path / "whole" / "trials.parquet")
    assert whole.height == 8 and set(whole["status"]) == {"finished"}
    mean = whole.group_by("trial").agg(pl.col("validation_auroc").mean())
    best = mean.sort("validation_auroc", "trial", descending=[True, False])["trial"][0]
    config = json.loads((tmp_path / "whole" / "best" / "config.json").read_text())
    chosen = whole.filter(pl.col("trial") == best)["train.learning_rate"][0]
    assert config["train"]["learning_rate"] == chosen and config["sweep"]["optuna"] == ""

    class Killed(Exception):
        pass

    def die(*given):
        raise Killed

    journal, places = tmp_path / "shared.log", (tmp_path / "one", tmp_path / "two")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(sweep_optuna, "_tell", die)
        main.main(command(journal, places[0]))
    # Another process finds half of the draws left, and trials that are still running.
    assert main.main(command(journal, places[1])) == 0
    assert "2 trial(s) are running elsewhere" in capsys.readouterr().out
    assert not (places[1] / "best").exists()
    assert main.main(command(journal, places[0])) == 0
    assert main.main(command(journal, places[1])) == 0
    tables = [pl.read_parquet(place / "trials.parquet") for place in places]
    assert tables[0].equals(tables[1])
    # The first batch is the unbroken one's; then the other process drew its own.
    assert tables[0].head(4).drop("seed").equals(whole.head(4).drop("seed"))
    results = [stored.read(place / "best" / "results.json") for place in places]
    for metric, found in results[0]["test"].items():
        if isinstance(found, dict) and "value" in found:
            assert results[1]["test"][metric]["value"] == pytest.approx(found["value"], abs=1e-3)
    assert results[0]["seeds"] == [0, 1]
