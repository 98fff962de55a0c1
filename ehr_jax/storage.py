"""Files and folders that are whole or not there, private from their first byte, and held by one.

    storage.write_file(path, frame.write_parquet)    one file
    with storage.new_folder(path) as unfinished: ... one folder of files
    with storage.hold(folder): ...                   no other process may write there meanwhile

A writer works under a temporary name of its own beside the target, `.NAME.HOST-PID-START-RANDOM
.partial`, and renames it at the end. So a reader never meets half a file, two writers never share a
name, and what a killed writer left is recognised and removed by `remove_partials`.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import platform
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from ehr_jax import errors

SUFFIX = ".partial"
LOCK = ".lock"
# A temporary of another machine, whose processes cannot be asked, is left behind after so long.
ABANDONED_SECONDS = 86_400
LONGEST_NAME = 80  # characters of the target's name within a temporary's, which may have 255 bytes
# An OSError that the machine's owner can mend, rather than a fault of the program.
OF_THE_DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
    errno.ENAMETOOLONG,
    errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY,  # a folder in a file's place
)  # fmt: skip
# A file system without locks between processes.
LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def cache_folder(kind: str) -> pathlib.Path:
    """Returns where what can be made again is kept: a folder a kind ("vectors", "graphs", "native")
    of $EHR_JAX_CACHE, or else of ~/.cache/ehr_jax."""
    root = pathlib.Path(os.environ.get("EHR_JAX_CACHE") or "~/.cache/ehr_jax").expanduser()
    return root / kind


def write_file(path: str | os.PathLike, write: Callable[[str], Any], private: bool = True) -> None:
    """Calls `write(temporary path)` and moves the result to `path`, whole and safe on the disk.

    Args:
      write: writes the file anew, or into the empty file that is there.
      private: mode 0600, otherwise what the user's mask allows.

    Raises:
      OSError: the file cannot be written; nothing of it is left, and an older `path` is unchanged.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with disk_errors(path):
            write(str(temporary))
            move(temporary, path, private)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str, private: bool = True) -> None:
    """Writes a file of UTF-8 text as `write_file` does."""

    def write(temporary: str) -> None:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)

    write_file(path, write, private)


def move(source: str | os.PathLike, path: str | os.PathLike, private: bool = True) -> None:
    """Moves a finished file of the same disk to `path`, safe on the disk first."""
    source, path = pathlib.Path(source), pathlib.Path(path)
    source.chmod(0o600 if private else 0o666 & ~_mask())
    with open(source, "rb") as file:
        os.fsync(file.fileno())
    os.replace(source, path)
    _sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike, private: bool = True) -> Iterator[pathlib.Path]:
    """Gives an empty folder to fill, which takes the place of `folder` when the block ends.

    An error in the block leaves nothing behind.

    Raises:
      OSError: the folder cannot be written, or `folder` exists and is not empty.
    """
    with work_folder(folder, private) as temporary:
        yield temporary
        os.replace(temporary, folder)
        _sync_folder(temporary.parent)


@contextlib.contextmanager
def work_folder(target: str | os.PathLike, private: bool = True) -> Iterator[pathlib.Path]:
    """Gives an empty folder on the disk of `target`, beside it, which is gone when the block ends.

    What killed writers left there is removed.

    Raises:
      OSError: it cannot be made.
    """
    target = pathlib.Path(target).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(target.parent)
    temporary = _temporary(target)
    try:
        temporary.mkdir(mode=0o700)
        if not private:
            temporary.chmod(0o777 & ~_mask())
        with disk_errors(target):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(folder: str | os.PathLike) -> pathlib.Path:
    """Makes `folder` if it is missing, and takes the rights of others from an empty one.

    One that holds something keeps its rights: it may be anybody's, a home folder for one.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.listdir(folder):
        _without_others(folder, 0o700)
    return folder


def tighten(folder: str | os.PathLike) -> None:
    """Takes the rights of others from `folder`, its files and folders; links are left alone."""
    for place, _, files in os.walk(folder):
        _without_others(pathlib.Path(place), 0o700)
        for name in files:
            _without_others(pathlib.Path(place) / name, 0o600)


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Gives every file and folder that is written meanwhile to its owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def remove_folder(folder: str | os.PathLike) -> None:
    """Removes `folder`: whoever is killed meanwhile leaves all of it, or nothing by its name.

    Of a link, or a file in its place, that alone is removed.
    """
    folder = pathlib.Path(folder)
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    temporary = _temporary(folder)
    os.replace(folder, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def remove_partials(folder: str | os.PathLike) -> None:
    """Removes temporaries of writers that were killed; those of living writers stay."""
    with contextlib.suppress(OSError):
        for path in pathlib.Path(folder).glob(f".*{SUFFIX}"):
            if _is_abandoned(path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def hold(
    folder: str | os.PathLike, purpose: str = "--workdir", private: bool = True
) -> Iterator[None]:
    """Makes `folder` and holds it: until the block ends, no other process can hold it.

    The folder's `.lock` names who holds it. One whose process is dead is taken over: the kernel
    says so, and where the file system has no locks, the process's number and start.

    Args:
      purpose: the flag or key that the user chose the folder by.
      private: as of `make_folder`.

    Raises:
      RunFolderError: another process holds it, or it cannot be made.
    """
    folder = pathlib.Path(folder)
    is_new = not folder.exists()
    try:
        if private:
            make_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(folder / LOCK, purpose)
    except OSError as error:
        raise errors.RunFolderError(
            f"{folder} cannot be written: {reason(error)}; choose another {purpose}"
        ) from error
    try:
        remove_partials(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()
            if is_new:
                folder.rmdir()  # where nothing was written
        os.close(file)


def reason(error: BaseException) -> str:
    """Says in a few words why something could not be written or read."""
    code = error.errno if isinstance(error, OSError) else None
    named = re.search(r"(?:[oO][sS] error |os_error_code='|Errno )(\d+)", str(error))
    if code is None and named:
        code = int(named[1])
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return "the disk is full"
    if code:
        return os.strerror(code)
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def place(error: OSError) -> str:
    """Returns the file or folder that an error is of; of what a writer has under way its target."""
    path = pathlib.Path(str(error.filename2 or error.filename or "a file"))
    own = f".{platform.node()}"
    for part in (path, *path.parents):
        front = part.name.rsplit("-", 3)[0]
        if part.name.endswith(SUFFIX) and front.endswith(own):
            return str(part.with_name(front.removesuffix(own).removeprefix(".")))
    return str(path)


@contextlib.contextmanager
def disk_errors(path: pathlib.Path | None = None) -> Iterator[None]:
    """Turns what compiled packages, such as polars, say of a disk into the OSError that it was.

    Args:
      path: what is written; an error that names no file, as that of a full disk, gets its name.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            if path and error.filename is None:
                error.filename = str(path)
            raise
        if code := re.search(r"os error (\d+)", str(error)):
            number = int(code[1])
            raise OSError(number, os.strerror(number), path and str(path)) from error
        if re.search(r"\d+ requested and \d+ written", str(error)):  # numpy, which gives no number
            full = errno.ENOSPC
            raise OSError(full, os.strerror(full), path and str(path)) from error
        raise


def _locked(path: pathlib.Path, purpose: str) -> int:
    """Returns the descriptor of a lock that is now this process's."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _is_held(path, _holder(file), purpose) from None
            except OSError as error:
                if error.errno not in LOCKLESS:
                    raise
            if not path.exists() or not os.path.samestat(os.fstat(file), path.stat()):
                os.close(file)  # its holder removed it between the two calls
                continue
            holder = _holder(file)
            if holder and (holder["host"] != platform.node() or _lives(holder)):
                raise _is_held(path, holder, purpose)
            os.ftruncate(file, 0)
            try:
                os.pwrite(file, json.dumps(_own()).encode(), 0)
            except OSError:  # a full disk
                path.unlink()
                raise
            return file
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(file)
            raise


def _is_held(path: pathlib.Path, holder: dict | None, purpose: str) -> errors.RunFolderError:
    holder = holder or {"host": "this machine", "process": "of unknown number", "started": "just"}
    return errors.RunFolderError(
        f"{path.parent} is in use by process {holder['process']} on {holder['host']}, started "
        f"{holder['started']}; wait until it has ended, or choose another {purpose}. If it no "
        f"longer runs there, remove {path}"
    )


def _holder(file: int) -> dict | None:
    """Who wrote the lock; None where nobody did, or a writer was killed while it did."""
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        return {name: holder[name] for name in ("host", "process", "start", "started")}
    except (ValueError, KeyError, TypeError):
        return None


def _own() -> dict:
    now = datetime.datetime.now().astimezone()
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "start": _start(os.getpid()),
        "started": now.isoformat(sep=" ", timespec="seconds"),
    }


def _lives(holder: dict) -> bool:
    """Whether the process that wrote a lock on this machine is there; a later one of its number
    is another, and so is this one of an earlier block."""
    process, start = holder["process"], holder["start"]
    return process != os.getpid() and _start(process) == start is not None


def _start(process: int) -> int | None:
    """When a process of this machine began, in ticks since the machine did; None if it is dead.

    Where the system does not tell, 0 for every living process.
    """
    if os.path.exists("/proc/self/stat"):
        try:
            with open(f"/proc/{process}/stat", "rb") as file:
                after_name = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if after_name[0] in (b"Z", b"X") else int(after_name[19])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # somebody else's, and alive
    return 0


def _temporary(path: pathlib.Path) -> pathlib.Path:
    process = os.getpid()
    owner = f"{platform.node()}-{process}-{_start(process)}-{uuid.uuid4().hex[:12]}"
    return path.with_name(f".{path.name[:LONGEST_NAME]}.{owner}{SUFFIX}")


def _is_abandoned(path: pathlib.Path) -> bool:
    front, *numbers = path.name.removesuffix(SUFFIX).rsplit("-", 3)
    if len(numbers) != 3 or not all(number.isdecimal() for number in numbers[:2]):
        return False  # not of ours
    if front.endswith(f".{platform.node()}"):
        return _start(int(numbers[0])) != int(numbers[1])
    try:
        files = [path, *path.rglob("*")] if path.is_dir() else [path]
        return time.time() - max(file.stat().st_mtime for file in files) > ABANDONED_SECONDS
    except OSError:
        return False  # its writer is at work


def _without_others(path: pathlib.Path, most: int) -> None:
    """Takes all rights beyond `most` from what is this user's own."""
    with contextlib.suppress(FileNotFoundError):  # a temporary that is gone meanwhile
        status = path.lstat()
        is_link = stat.S_ISLNK(status.st_mode)
        if not is_link and status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) & ~most:
            path.chmod(status.st_mode & most)


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes a rename last through a power failure, where the file system allows it."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _mask() -> int:
    """The user's mask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
