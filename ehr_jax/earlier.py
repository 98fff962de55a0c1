"""Reads configs that earlier versions wrote to run folders, with today's keys."""

import copy
from collections.abc import Mapping
from typing import Any

# (section, old key) to the new key of that section.
RENAMED = {("realm", "dtype"): "precision"}
# Values of keys that are newer than a run on records: how it behaved before they existed.
ADDED = {
    "train": {
        "optimiser": "adam_l2", "schedule": "constant", "warmup_steps": 0, "final_share": 0.0,
    },
}  # fmt: skip


def current(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of the content of a config.json in which keys are renamed and added."""
    updated = copy.deepcopy(dict(config))
    for (section, old), new in RENAMED.items():
        if isinstance(updated.get(section), dict) and old in updated[section]:
            updated[section][new] = updated[section].pop(old)
    if "realm" in updated:  # a run on records
        for section, values in ADDED.items():
            if isinstance(updated.get(section), dict):
                updated[section] = values | updated[section]
    return updated
