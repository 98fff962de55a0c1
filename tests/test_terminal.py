"""Control characters of data and flags are shown on the terminal and in pages, never obeyed."""

import io
import sys

import hypothesis
import hypothesis.strategies as st
import pytest

from ehr_jax import errors, main, progress, terminal
from ehr_jax.reporting import page, plots, tables

HOSTILE = "\x1b]0;owned\x07\x1b[2Jcode\x9b31m\u202egnp\rX\b\x7f"


def is_safe(text: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t" for letter in text)


@hypothesis.given(st.text(st.characters(exclude_categories=())))
def test_clean_text_has_no_control_character_and_is_clean(text):
    found = terminal.clean(text)
    assert not [c for c in found if ord(c) < 32 and c not in "\n\t" or 127 <= ord(c) < 160]
    assert "\u202e" not in found and terminal.clean(found) == found
    assert "\n" not in terminal.line(text) and "\t" not in terminal.line(text)
    found.encode()  # no lone surrogate, which no terminal takes


def test_plain_words_of_any_language_stay():
    assert terminal.clean("Größe 5 µg\n\t東京") == "Größe 5 µg\n\t東京"


def test_what_a_mode_prints_and_raises_is_clean(tmp_path, monkeypatch, capsys):
    def run(config, workdir):
        print(f"code {HOSTILE}")
        sys.stdout.writelines([HOSTILE])
        print(tables.render(["Code"], [[f"{HOSTILE}\nerror: forged"]]))
        raise errors.RecordsError(f"column {HOSTILE}")

    monkeypatch.setattr("ehr_jax.modes.report.run", run)
    before = sys.stdout
    assert main.main(["main", "--mode=report", f"--workdir={tmp_path}"]) == 2
    assert sys.stdout is before
    out, err = capsys.readouterr()
    assert is_safe(out) and is_safe(err)
    assert "\\x1b]0;owned" in out and "\\x9b31m" in err
    assert "\nerror: forged" not in out


def test_a_flag_is_clean_too(capsys):
    assert main.main(["main", f"--mode={HOSTILE}"]) == 2
    assert main.main(["main", f"--workdir={HOSTILE}", f"--{HOSTILE}=1"]) == 2
    assert is_safe(capsys.readouterr().err)


class Screen(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


def test_bars_and_what_is_printed_beside_them_obey_no_words_of_others(monkeypatch):
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    with terminal.output():
        with progress.progress(f"[red]{HOSTILE}", 2) as bar:
            bar.advance(1, HOSTILE)
            print(f"beside {HOSTILE}")
        print(f"after {HOSTILE}")
    shown = screen.getvalue()
    assert "\x1b[" in shown  # the bar's own
    for sequence in ("\x1b]0;", "\x1b[2J", "\x9b", "\u202e", "\x07"):
        assert sequence not in shown
    assert "after \\x1b]0;owned" in shown and "[red]" in shown


def test_pages_and_drawings_hold_no_control_character():
    assert is_safe(page.facts({HOSTILE: HOSTILE}, counts=False))
    assert is_safe(plots._short(HOSTILE, 400))


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    entries = {"auroc": [{"value": 0.5, "low": 0.4, "high": 0.6}]}
    assert "$\\frac" in plots.save(plots.dots(["$\\frac{x"], entries), tmp_path / "p.png")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{home}/records/mimic", "~/records/mimic"),
        ("{home}", "~"),
        ("{home}s/x", "…/x"),
        ("/{h}/jane", "~"),
        ("/{h}/jane/My Records/eicu", "~/My Records/eicu"),
        ("read from '/data/jane/mimic' now", "read from '…/mimic' now"),
        ("/data/jane/My Records", "…/My Records"),
        ("http://gpu-7:8000/v1", "http://…:8000/v1"),
        ("http://10.1.2.3/v1", "http://…/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://creativecommons.org/licenses/by/4.0/", None),
        ("mg/dL, 1/2, and/or, 120/80 mmHg, ICD9CM:428.0", None),
        ("on node-17.", "on …."),
    ],
)
def test_a_page_names_no_place_of_the_machine(monkeypatch, text, shown):
    home = "/" + "srv/people/ann"
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("platform.node", lambda: "node-17")
    text = text.replace("{home}", home).replace("{h}", "home")
    assert page.without_places(text) == (text if shown is None else shown)
