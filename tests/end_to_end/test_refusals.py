"""What a mode cannot serve is refused with one line that says why, before anything long is done."""

import pytest

from ehr_jax import main

MINGLE = ("--config=configs/mingle.py:synthetic_readmission", "--config.synthetic.patients=60")
REALM = ("--config=configs/realm.py:synthetic_mortality", "--config.synthetic.patients=60")


@pytest.mark.parametrize(
    ("mode", "more", "said"),
    [
        ("train", (*MINGLE, "--config.cohort.folds=5"), "folds are compared by --mode=benchmark"),
        ("train", (*REALM, "--config.realm.heads=3"), "config.realm.width is 128"),
        ("benchmark", (*REALM, "--config.realm.gate=soft"), "config.realm.gate is 'soft'"),
        ("train", (*REALM, "--config.train.shards=2"), "config.train.shards is 2, and 'realm'"),
        ("train", (*MINGLE, "--config.train.devices=99"), "config.train.devices is 99"),
    ],
)
def test_it_is_refused_in_one_line(mode, more, said, tmp_path, capsys):
    status = main.main(["ehr_jax.main", f"--mode={mode}", f"--workdir={tmp_path / 'run'}", *more])
    errors = capsys.readouterr().err
    assert status != 0
    assert said in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_audit_of_stays_needs_no_encoder(tmp_path, capsys):
    more = (*REALM, "--config.text.encoder=no such encoder")
    status = main.main(["ehr_jax.main", "--mode=audit", f"--workdir={tmp_path / 'run'}", *more])
    assert "no such encoder" not in capsys.readouterr().err
    assert status == 0
