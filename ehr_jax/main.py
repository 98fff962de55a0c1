"""python -m ehr_jax.main --config=configs/NAME.py[:variant] --workdir=RUN [--mode=MODE] ..."""

import contextlib
import difflib
import importlib
import math
import os
import pathlib
import re
import sys
from typing import NoReturn

import ml_collections
from absl import flags
from ml_collections import config_flags

from ehr_jax import (
    __version__,
    config_files,
    disclosure,
    errors,
    listing,
    stopping,
    storage,
    terminal,
)
from ehr_jax import config as configs

MODES = (
    "train", "benchmark", "sweep", "predict", "prepare", "embed", "meds", "audit", "download",
    "report", "doctor",
)  # fmt: skip
OF_THEIR_OWN = ("benchmark", "sweep", "prepare", "audit")  # run folders, if none is named
WITHOUT_CONFIG = ("report", "doctor")
WITHOUT_RUN_FOLDER = (
    "embed",
    "download",
    "doctor",
    "clean",
)  # what they write is shared, or held by itself
AGAIN = 75  # exit status: what was saved is whole, and the same command goes on from it
INTERRUPTED = 130  # exit status: Ctrl-C
CLOSED = 141  # exit status: nobody reads the output any more
MISSING = "--config=configs/NAME.py is missing; start with configs/quickstart.py"
CUT_SHORT = (AGAIN, INTERRUPTED, CLOSED)


def main(arguments: list[str]) -> int:
    """Parses flags, runs the mode, and returns the exit status.

    It is 0 for success, 1 where an audit or the doctor found something, 2 for a mistake of the
    user's or a disk that cannot be written, 75 where the process was told to end (SIGTERM),
    130 after Ctrl-C and 141 where the output was closed.
    """
    with terminal.output():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        with stopping.by_signal(), storage.private_files():
            mode, config, workdir = parse(arguments)
            is_held = mode not in WITHOUT_RUN_FOLDER
            with storage.hold(workdir) if is_held else contextlib.nullcontext():
                status = importlib.import_module(f"ehr_jax.modes.{mode}").run(config, workdir)
                sys.stdout.flush()
                return status
    except errors.UserError as error:
        return _told(f"error: {disclosure.words(str(error))}", 2)
    except KeyboardInterrupt:
        return _told(f"stopped; {GOES_ON}", INTERRUPTED)
    except stopping.Stopped:
        return _told(f"told to end; {GOES_ON}", AGAIN)
    except RuntimeError as error:
        if "home directory" not in str(error):  # pathlib's words for a path such as ~nobody/data
            raise
        return _told("error: a path begins with ~ and a name that no user has; write it out", 2)
    except BrokenPipeError:
        # Python flushes once more at the end, which would fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _told(f"stopped, as the output was closed; {GOES_ON}", CLOSED)
    except OSError as error:
        if error.errno not in storage.OF_THE_DISK:
            raise
        return _told(
            f"error: {storage.place(error)} cannot be written or read: {storage.reason(error)}. "
            "What was saved before is whole; mend this and start the same command again",
            2,
        )


def end(status: int) -> NoReturn:
    """Ends the process with the exit status `status`.

    A command that was cut short ends at once, without Python's own clean-up: XLA's threads may
    still be at work then, and the clean-up beneath them has ended in a segmentation fault. What was
    open is closed by that time, as the command's exception has passed through it.
    """
    if status not in CUT_SHORT:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


GOES_ON = "the same command goes on from what was saved"


def _told(line: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return status


def parse(arguments: list[str]) -> tuple[str, object, pathlib.Path]:
    """Returns (module of the mode, config or None, run folder); ConfigError for a bad flag."""
    arguments = _in_order(arguments)
    _check_depth(arguments)
    given = [arguments[0], *map(config_files.located, arguments[1:])]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        None,
        "the experiment: configs/NAME.py[:variant]",
        flag_values=values,
        sys_argv=given,  # where ml_collections looks for --config.key=value
    )
    flags.DEFINE_string("workdir", None, "the run folder", flag_values=values)
    flags.DEFINE_string("mode", "train", f"one of {', '.join(MODES)}", flag_values=values)
    lists = f"show what there is: {', '.join(listing.LISTS)}"
    flags.DEFINE_string("list", None, lists, flag_values=values)
    flags.DEFINE_float(
        "clean",
        None,
        "with --mode=doctor: remove prepared samples from the cache that were not used for so many "
        "days",
        lower_bound=0.0,
        flag_values=values,
    )
    flags.DEFINE_bool("version", False, "show the version", flag_values=values)
    flags.DEFINE_bool("help", False, "show these flags", flag_values=values, allow_override=True)
    try:
        rest = values(given)
    except errors.UserError:
        raise
    except Exception as error:  # ml_collections raises what it meets: all are the user's to mend
        kind = _sections(_config_of(given))
        raise errors.ConfigError(_explain(error, arguments, kind)) from error
    if values.help:
        print(f"{__doc__}\n{values.main_module_help() or values.get_help()}\n")
        print(*listing.keys(_sections(values.config)), sep="\n")
        raise SystemExit(0)
    if values.version:
        print(f"ehr_jax {__version__}")
        raise SystemExit(0)
    if len(rest) > 1:
        raise errors.ConfigError(f"'{rest[1]}' is not a flag; flags start with --")
    if values.list is not None:
        if values.list not in listing.LISTS:
            raise errors.ConfigError(
                f"--list={values.list}; expected one of {', '.join(listing.LISTS)}."
                + errors.did_you_mean(values.list, listing.LISTS)
            )
        of_kind = (_sections(values.config),) if values.list == "keys" else ()
        print(*listing.LISTS[values.list](*of_kind), sep="\n")
        raise SystemExit(0)
    if values.mode not in MODES:
        near = errors.did_you_mean(values.mode, MODES)
        raise errors.ConfigError(f"--mode={values.mode}; expected one of {', '.join(MODES)}.{near}")
    if values.config is None and values.mode not in WITHOUT_CONFIG:
        raise errors.ConfigError(MISSING)
    mode = values.mode
    if values.clean is not None:
        if not math.isfinite(values.clean):
            raise errors.ConfigError(f"--clean={values.clean}; expected a number of days")
        if mode != "doctor":
            raise errors.ConfigError(f"--clean={values.clean:g} is for --mode=doctor alone")
        return "clean", ml_collections.ConfigDict({"days": values.clean}), pathlib.Path()
    _check_fits(mode, values.config)
    if values.config is not None and mode not in WITHOUT_CONFIG:
        configs.check(values.config, mode)
    return mode, values.config, pathlib.Path(values.workdir or _default_folder(arguments, mode))


def _sections(config: object) -> dict[str, type]:
    """The sections of a kind of config; of one on records where there is none."""
    return configs.RECORDS if config is None else configs.sections_of(config)


def _check_fits(mode: str, config: object) -> None:
    """Raises ConfigError where the mode wants the other kind of config."""
    if mode in WITHOUT_CONFIG:
        return
    if mode == "embed" and "input" not in config.get("text", ()):
        raise errors.ConfigError("--mode=embed wants --config=configs/embed.py")
    of_run = "run" in config
    if (mode == "predict" and not of_run) or (of_run and mode not in ("predict", "prepare")):
        raise errors.ConfigError(
            "--mode=predict wants --config=configs/predict.py, or none; and that config is for "
            "--mode=predict and --mode=prepare alone"
        )
    if mode != "train" and configs.sections_of(config) is configs.HYPERGRAPH:
        raise errors.ConfigError(
            f"this config classifies the nodes of a hypergraph, which --mode={mode} does not; "
            "leave --mode out, or name another --config"
        )
    if mode != "embed" and "data" not in config:
        raise errors.ConfigError(
            f"this config is for --mode=embed, and the mode is '{mode}'; add --mode=embed, or name "
            "another --config"
        )


def _in_order(arguments: list[str]) -> list[str]:
    """The arguments with --config=FILE first, as its keys are known once the file is read."""
    joined, rest = [], iter(arguments[1:])
    for argument in rest:
        has_value = not re.fullmatch(r"--?(config|mode|list|clean)", argument)
        joined.append(argument if has_value else f"{argument}={next(rest, '')}")
    if any(re.fullmatch(r"--?config=", argument) for argument in joined):
        raise errors.ConfigError(MISSING)
    files = [argument for argument in joined if re.match(r"--?config=", argument)]
    others = [argument for argument in joined if argument not in files]
    if not files and any(re.fullmatch(r"--?mode=predict", argument) for argument in others):
        files = ["--config=configs/predict.py"]
    if not files and any(re.match(r"--?config\.", argument) for argument in others):
        raise errors.ConfigError(MISSING)
    return [arguments[0], *files, *others]


def _check_depth(arguments: list[str]) -> None:
    """Raises ConfigError for a flag that sets a whole section, or a key inside of a setting."""
    settings = {row.key for row in configs.keys(*configs.KINDS) if not row.default.startswith("{")}
    sections = {key.rpartition(".")[0] for key in settings}
    for key in _config_keys(arguments):
        if key in sections:
            raise errors.ConfigError(
                f"config.{key} is a section, not a setting; set its keys one by one, as "
                f"--config.{key}.KEY=VALUE (--list=keys shows them, with --mode or --config)"
            )
        for above in settings & {key[: dot.start()] for dot in re.finditer(r"\.", key)}:
            raise errors.ConfigError(
                f"config.{key}: config.{above} is a setting, not a section; leave out "
                f"'{key.removeprefix(above)}'"
            )


def _config_keys(arguments: list[str]) -> list[str]:
    matched = [re.match(r"--?config\.([\w.]+)", argument) for argument in arguments]
    return [match.group(1) for match in matched if match]


def _config_of(arguments: list[str]) -> object:
    """The config of the file that --config names, whose flags could not be read; None without."""
    for argument in arguments:
        if matched := re.match(r"--?config=(.+)", argument):
            with contextlib.suppress(Exception):  # what is wrong with the file is told already
                return config_files.load(matched.group(1))
    return None


def _explain(error: Exception, arguments: list[str], kind: dict[str, type]) -> str:
    """The message of a flag or config error, with near misses for the keys of a kind of config."""
    text = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
    keys = _config_keys(arguments)
    if fault := _of_another_type(text):
        return fault
    named = [key for key in keys if f"config.{key}" in text]
    absent = [key for key in keys if _without_guess(text) in key.split(".")]
    likely = [key for key in keys if any(part in text for part in key.split("."))]
    for key in (*named, *absent, *likely):
        return f"--config.{key}: {_first_sentence(text)}{_near_key(key, kind)}"
    return text


def _of_another_type(text: str) -> str:
    """What is said of a flag whose value cannot be read as the setting's type, else ''."""
    flag = re.match(r"flag --config\.([\w.]+)=(.*?): ", text)
    rows = [*configs.keys(*configs.KINDS)] if flag else []
    expected = {row.key: row.expected for row in reversed(rows)}.get(flag and flag.group(1))
    return expected and f"config.{flag.group(1)} is {flag.group(2)!r}; expected {expected}"


def _near_key(key: str, kind: dict[str, type]) -> str:
    flat = [row.key for row in configs.keys(kind)]
    near = difflib.get_close_matches(key, flat, n=1, cutoff=0.6)
    return f". Did you mean 'config.{near[0]}'?" if near and near[0] != key else ""


def _first_sentence(text: str) -> str:
    text = _without_guess(text)
    if not text.isidentifier():
        return text
    return f"this config has no key '{text}' (--list=keys shows all, with --mode or --config)"


def _without_guess(text: str) -> str:
    """Without ml_collections' own guess at a near key, which knows only one section."""
    return text.split("\\nDid you mean")[0].replace("\\'", "'").strip("'\"")


def _default_folder(arguments: list[str], mode: str) -> str:
    """runs/NAME-VARIANT[-MODE] under the current folder."""
    given = [a.split("=", 1)[1] for a in arguments if re.match(r"--?config=", a)]
    name = pathlib.PurePath(given[0]).name.replace(".py", "").replace(":", "-") if given else mode
    return f"runs/{name}" + (f"-{mode}" if mode in OF_THEIR_OWN else "")


def command() -> NoReturn:
    """Runs the console command `ehr-jax`."""
    terminal.install()
    end(main(sys.argv))


if __name__ == "__main__":
    command()
