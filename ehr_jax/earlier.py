"""Configs that earlier versions wrote to run folders, read with the keys of today."""

import copy
from collections.abc import Mapping
from typing import Any

# Section and key, to the key it has now.
RENAMED = {("realm", "dtype"): "precision"}
# What runs on records did before there was a key for it.
ADDED = {
    "train": {
        "optimiser": "adam_l2", "schedule": "constant", "warmup_steps": 0, "final_share": 0.0,
    },
}  # fmt: skip


def current(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a config.json with the keys, and their names, of now."""
    made = copy.deepcopy(dict(config))
    for (section, old), new in RENAMED.items():
        if isinstance(made.get(section), dict) and old in made[section]:
            made[section][new] = made[section].pop(old)
    if "realm" in made:
        for section, values in ADDED.items():
            if isinstance(made.get(section), dict):
                made[section] = values | made[section]
    return made
