"""HTML tables for notebooks, in which counts below 10 are hidden."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from ehr_jax import disclosure


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a small table as HTML; numbers below `disclosure.SMALLEST` are hidden."""

    def cell(value: Any) -> str:
        return html.escape(disclosure.shown(value) if isinstance(value, int) else str(value))

    heads = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell(v)}</td>' for v in row)}</tr>" for row in rows)
    return f"<table><caption>{html.escape(title)}</caption><tr>{heads}</tr>{body}</table>"
