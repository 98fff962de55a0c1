"""Being told to end (SIGTERM): at once, or where training can be saved, as soon as it is.

    with stopping.by_signal(): ...               SIGTERM raises Stopped wherever the block is
        with stopping.deferred() as is_told:     but not in here: the end of this block raises it
            while work and not is_told(): ...

A second SIGTERM ends the process at once.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class Stopped(BaseException):
    """The process was told to end."""


@contextlib.contextmanager
def by_signal() -> Iterator[None]:
    """Makes SIGTERM an exception, so that what is open is closed."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether SIGTERM came; where it did, the block's end raises.

    Outside `by_signal` nothing is changed, and the function always says False.

    Raises:
      Stopped: SIGTERM came during the block.
    """
    told = threading.Event()

    def remember(number, frame):
        signal.signal(number, signal.SIG_DFL)
        told.set()

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not _stop:
        yield told.is_set
        return
    signal.signal(signal.SIGTERM, remember)
    try:
        yield told.is_set
    finally:
        if not told.is_set():
            signal.signal(signal.SIGTERM, _stop)
    if told.is_set():
        raise Stopped


def _stop(number, frame):
    signal.signal(number, signal.SIG_DFL)
    raise Stopped
