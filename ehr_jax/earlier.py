"""Configs that earlier versions wrote to run folders, read with the keys of today."""

import copy
from collections.abc import Mapping
from typing import Any

# Section and key, to the key it has now.
RENAMED = {("realm", "dtype"): "precision"}


def current(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a config.json with the names that its keys have now."""
    made = copy.deepcopy(dict(config))
    for (section, old), new in RENAMED.items():
        if isinstance(made.get(section), dict) and old in made[section]:
            made[section][new] = made[section].pop(old)
    return made
