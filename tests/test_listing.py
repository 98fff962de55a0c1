"""What --list, --help and the page of the documentation tell comes of the settings themselves."""

import pathlib

import pytest

import ehr_jax
from ehr_jax import config as configs
from ehr_jax import listing, main

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "configuration.md"


def said(capsys, *flags) -> str:
    with pytest.raises(SystemExit) as ended:
        main.main(["main", *flags])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_page_is_what_the_settings_say():
    assert PAGE.read_text() == listing.page(), "python -m ehr_jax.listing > docs/configuration.md"


@pytest.mark.parametrize("flags", [("--list=keys",), ("--list", "keys"), ("--help",)])
def test_every_key_is_listed_with_its_default_and_range(flags, capsys):
    told = said(capsys, *flags)
    for row in configs.keys(configs.RECORDS):
        assert f"--config.{row.key}={row.default}  ({row.expected})" in told


def test_keys_are_those_of_the_config_that_is_named(capsys):
    told = said(capsys, "--list=keys", "--config=configs/hypergraph.py")
    assert "--config.train.train_fraction=0.5" in told and "cohort" not in told


def test_names_are_listed(capsys):
    assert "mimic4\n" in said(capsys, "--list=sources")
    assert "mortality\n" in said(capsys, "--list=tasks")
    assert "lightgbm  (LightGBM; over visits)\n" in said(capsys, "--list=methods")
    assert "configs/mingle.py:mimic3_mortality\n" in said(capsys, "--list=variants")
    assert "configs/quickstart.py\n" in said(capsys, "--list=variants")
    assert "PubMedBERT  (" in said(capsys, "--list=encoders")
    assert said(capsys, "--version") == f"ehr_jax {ehr_jax.__version__}\n"


def test_another_list_is_refused(capsys):
    assert main.main(["main", "--list=key"]) == 2
    assert "Did you mean 'keys'" in capsys.readouterr().err
    assert main.main(["main", "--list"]) == 2
    assert "expected one of keys, sources, tasks, methods" in capsys.readouterr().err
