"""What reaches a terminal, a log or a page is text: its control characters are shown, not obeyed.

Data, flags and answers of servers may hold escape sequences, which would move a terminal's cursor,
change its title or forge lines. `output` stands around all that a program prints.
"""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

# Control characters but tab and line feed, and marks that reorder or hide text.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def clean(text: str) -> str:
    r"""Returns `text` with control characters written out, an escape as \x1b; lines are kept."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def line(text: str) -> str:
    r"""As `clean`, with line feeds and tabs written out too: a cell or a name takes one line."""
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")


class Cleaned:
    """A stream of text that writes what `clean` returns; all else is the stream's own."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes clean text; returns the number of characters given."""
        # A line ended as on other systems is one line.
        self.stream.write(clean(text.replace("\r\n", "\n")))
        return len(text)

    def writelines(self, lines) -> None:
        """Writes each."""
        for text in lines:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def raw(stream: TextIO) -> TextIO:
    """Returns the stream within: for a display of ours that moves the cursor, of cleaned words."""
    while type(stream) is Cleaned:
        stream = stream.stream
    return stream


def install() -> None:
    """Cleans all that is printed from now on, tracebacks too."""
    sys.stdout, sys.stderr = Cleaned(sys.stdout), Cleaned(sys.stderr)


@contextlib.contextmanager
def output() -> Iterator[None]:
    """Cleans what is printed in the block."""
    before = sys.stdout, sys.stderr
    install()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
