"""Fetching one file: resumed where it broke off, checked, and placed whole or not at all."""

import contextlib
import hashlib
import os
import pathlib
import time
import urllib.error
import urllib.request
import zipfile

from ehr_jax import errors, storage
from ehr_jax.download import publishers
from ehr_jax.progress import progress

TRIES = 5
WAIT = 2.0  # seconds before the second try; doubled for each one after
SILENCE = 60.0  # seconds without a byte before a try is given up
_BLOCK = 1 << 20


def data_set(
    wanted: publishers.DataSet, folder: pathlib.Path, wait: float = WAIT, silence: float = SILENCE
) -> int:
    """Fetches what `folder` still lacks of a data set; returns how many files it fetched.

    Raises DownloadError naming the file, what was expected and what was found.
    """
    with storage.hold(folder, "config.data.root", private=False):
        return _fetch_missing(wanted, folder, wait, silence)


def _fetch_missing(
    wanted: publishers.DataSet, folder: pathlib.Path, wait: float, silence: float
) -> int:
    fetched = 0
    for file in wanted.files:
        places = file.members.values() if file.members else [(file.path, file.sha256)]
        if all((folder / path).exists() for path, _ in places):
            continue
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        sha256 = file.sha256 or _listed(file, wait, silence)
        fetch(file.url, place, sha256, file.size, wait, silence)
        if file.members:
            _unpack(place, folder, file.members)
            place.unlink()
        fetched += 1
    return fetched


def fetch(
    url: str,
    place: pathlib.Path,
    sha256: str | None,
    size: int | None = None,
    wait: float = WAIT,
    silence: float = SILENCE,
) -> None:
    """Fetches `url` to `place`, through a file beside it that a later start goes on with.

    Raises DownloadError where the publisher cannot be reached or serves something else.
    """
    part = place.with_name(place.name + ".part")
    for tried in range(TRIES):
        if tried:
            time.sleep(wait * 2 ** (tried - 1))
        try:
            _go_on(url, part, silence)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part file is longer than what is served: not ours
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                raise _failed(url, f"the publisher answers {error.code} {error.reason}") from None
            said = f"the publisher answers {error.code} {error.reason}"
        except (OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno == 28:
                raise errors.DownloadError(
                    f"the disk is full while writing {part}; make room and start again: what is "
                    "there is kept"
                ) from None
            said = str(error) or type(error).__name__
    else:
        raise _failed(url, f"{TRIES} tries failed, the last with: {said}")
    _check(url, part, sha256, size)
    os.replace(part, place)


def _go_on(url: str, part: pathlib.Path, silence: float) -> None:
    """Appends what `part` lacks; OSError or EOFError where it breaks off."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "ehr_jax"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=silence) as answer:
        resumed = answer.status == 206
        if have and not resumed:  # the publisher starts anew
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if resumed else "wb") as file:
            with progress(f"download {part.stem}", total or 0, have) as bar:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    have += len(block)
                    bar.advance(len(block))
    if total is not None and have < total:
        raise EOFError(f"the connection closed after {have} of {total} bytes")


def _check(url: str, part: pathlib.Path, sha256: str | None, size: int | None) -> None:
    found_size = part.stat().st_size
    found = _sha256(part)
    wrong = ""
    if size is not None and found_size != size:
        wrong = f"{found_size} bytes came, {size} were expected"
    elif sha256 is not None and found != sha256:
        wrong = f"its SHA-256 is {found}, expected {sha256}"
    elif sha256 is None and _is_page(part):
        wrong = "a web page came in its place"
    if wrong:
        part.unlink()
        raise errors.DownloadError(
            f"{url} is not the file it should be: {wrong}. Nothing was kept. The publisher may "
            "have changed it, or it was changed on the way: start again, and if this stays so, "
            "fetch it by hand and compare."
        )


def _listed(file: publishers.File, wait: float, silence: float) -> str | None:
    """The checksum that the publisher's own list gives for the file; None without such a list."""
    if file.sums is None:
        return None
    for tried in range(TRIES):
        if tried:
            time.sleep(wait * 2 ** (tried - 1))
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(file.sums, timeout=silence) as answer:
                lines = answer.read(_BLOCK).decode("utf-8", "replace").splitlines()
            sums = dict(reversed(line.split(None, 1)) for line in lines if len(line.split()) == 2)
            if file.path in sums:
                return sums[file.path].lower()
            break
    raise _failed(file.sums, f"the publisher's list of checksums does not give {file.path}")


def _unpack(archive: pathlib.Path, folder: pathlib.Path, members: dict) -> None:
    """Takes the named members out of a zip, each checked and placed whole."""
    try:
        with zipfile.ZipFile(archive) as held:
            names = {name.rsplit("/", 1)[-1].lower(): name for name in held.namelist()}
            for member, (path, sha256) in members.items():
                if member.lower() not in names:
                    raise errors.DownloadError(f"{archive.name} holds no '{member}'")
                part = folder / f"{path}.part"
                with held.open(names[member.lower()]) as source, open(part, "wb") as target:
                    while block := source.read(_BLOCK):
                        target.write(block)
                _check(f"{archive.name}:{member}", part, sha256, None)
                os.replace(part, folder / path)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise errors.DownloadError(
            f"{archive.name} is no whole zip ({error}); start again"
        ) from None


def _is_page(path: pathlib.Path) -> bool:
    """Is it HTML, as publishers answer when something is wrong on their side?"""
    with open(path, "rb") as file:
        return file.read(200).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failed(url: str, why: str) -> errors.DownloadError:
    return errors.DownloadError(
        f"could not fetch {url}: {why}. What was fetched is kept, and the same command goes on. Is "
        "the network up, and does it need a proxy (https_proxy)?"
    )
