"""Reads configs that earlier versions wrote to run folders, with today's keys."""

import copy
from collections.abc import Mapping
from typing import Any

# (section, old key) to the new key of that section.
RENAMED = {("realm", "dtype"): "precision", ("train", "epochs"): "steps"}
# Values of the keys of sections that are newer than a run: how it behaved before they existed.
ADDED = {"optimiser": "adam_l2", "schedule": "constant", "warmup_steps": 0, "final_share": 0.0}
ADDED_TO = {
    "data": {"keep": True, "prepared": ""},
    "task": {"title": None, "label_names": None},
    "text": {"architecture": None},
}
ADDED_TO_NODES = ADDED | {
    "clip": None, "eval_every": 1, "patience": 500, "checkpoint_every": 100, "select": "accuracy",
}  # fmt: skip


def current(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of the content of a config.json in which keys are renamed and added."""
    updated = copy.deepcopy(dict(config))
    for (section, old), new in RENAMED.items():
        if isinstance(updated.get(section), dict) and old in updated[section]:
            updated[section][new] = updated[section].pop(old)
    data, model, train = (updated.get(name) for name in ("data", "model", "train"))
    on_nodes = isinstance(data, dict) and "path" in data
    if isinstance(train, dict) and (on_nodes or "realm" in updated):
        updated["train"] = (ADDED_TO_NODES if on_nodes else ADDED) | train
    for section, added in ADDED_TO.items():
        on_records = "realm" in updated or section == "text"  # texts are embedded without any
        if on_records and isinstance(updated.get(section), dict):
            updated[section] = added | updated[section]
    if on_nodes and isinstance(model, dict) and model.get("name") == "alldeepsets":
        updated["model"] = model | {"name": "alldeepsets_nodes"}
    return updated
