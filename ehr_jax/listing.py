"""What there is to choose from, in words made of the settings: `--list`, `--help` and a page.

`python -m ehr_jax.listing > docs/configuration.md` writes the page.
"""

import textwrap
from collections.abc import Iterator, Mapping

from ehr_jax import config as configs
from ehr_jax import settings
from ehr_jax.cohorts import spec
from ehr_jax.models import registry
from ehr_jax.records import settings as records

TITLES = {
    "Experiments on records": configs.RECORDS,
    "Predictions, by --mode=predict": configs.PREDICT,
    "Vectors of texts, by --mode=embed": configs.EMBED,
    "Nodes of a hypergraph file": configs.HYPERGRAPH,
}
HEAD = """# Configuration

Every key of a config, made of the sections in the `settings.py` of each room by
`python -m ehr_jax.listing`. A key is set by `--config.KEY=VALUE`, or in a file such as those of
`configs/`. Values are checked before anything else is done. `--list=keys` shows the same.
"""


def keys(sections: Mapping[str, type] = configs.RECORDS) -> Iterator[str]:
    """Yields lines that tell every key of a kind of config."""
    for name, cls in sections.items():
        yield f"config.{name}: {_about(cls)}" if name else _about(cls)
        for row in settings.rows(cls, f"{name}." if name else ""):
            yield f"  --config.{row.key}={row.default}  ({row.expected})"
            yield from textwrap.wrap(
                row.meaning, 92, initial_indent=" " * 6, subsequent_indent=" " * 6
            )


def methods() -> Iterator[str]:
    """Yields lines that tell every method."""
    for name in registry.NAMES:
        method = registry.find(name)
        yield f"{name}  ({method.label}; is given {method.inputs.name})"


LISTS = {
    "keys": keys,
    "sources": lambda: iter(records.NAMES),
    "tasks": lambda: iter(spec.NAMES),
    "methods": methods,
}


def page() -> str:
    """Returns docs/configuration.md."""
    parts = [HEAD]
    for title, sections in TITLES.items():
        parts.append(f"## {title}\n")
        for name, cls in sections.items():
            parts.append(f"### {f'`{name}`' if name else 'Without a section'}\n\n{_about(cls)}\n")
            parts.append("| key | default | possible | meaning |\n| --- | --- | --- | --- |")
            for row in settings.rows(cls, f"{name}." if name else ""):
                cells = (f"`{row.key}`", f"`{row.default}`", row.expected, row.meaning)
                parts.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
            parts.append("")
    return "\n".join(parts)


def _about(cls: type) -> str:
    return (cls.__doc__ or "").split("\n")[0]


if __name__ == "__main__":
    print(page(), end="")
