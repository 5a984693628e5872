"""A small project of the test's own: params.yaml, data and a tiny teacher in a folder."""

import copy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import make_checkpoint, make_sentences, write_csv

PARAMS: dict[str, Any] = {
    "data": {"source": "files", "path": "data"},
    "task": {"kind": "classification"},
    "tokenizer": {"checkpoint": "base", "max_length": 64},
    "augmentation": {"n_copies": 0},
    "generation": {"splits": []},
    "teacher": {"checkpoint": "base", "epochs": 1, "batch_size": 32},
    "capture": {"segment_rows": 40, "signals": {"attentions": {"layers": [2]}}},
    "training": {"epochs": 2, "batch_size": 16},
    "students": {
        "hard-2": {"model": {"n_layers": 2}, "objectives": {"hard_label": {}}},
        "kd-2": {
            "model": {"n_layers": 2},
            "objectives": {
                "hard_label": {"weight": 0.5},
                "soft_target": {"weight": 0.5, "temperature": 4.0},
                "cls": {"layer_map": "skip"},
                "attentions": {"layer_map": [[1, 2]]},
            },
        },
    },
    "evaluation": {"n_latency_repeats": 1, "n_latency_examples": 4},
    "export": {"students": [], "int8": True, "license": "unknown"},
}


def make_project(folder: Path) -> Path:
    """Write the project's inputs and return its folder."""
    for seed, (split, n_rows) in enumerate({"train": 90, "validation": 30, "test": 20}.items()):
        write_csv(folder / "data" / f"{split}.csv", make_sentences(n_rows, seed))
    make_checkpoint(folder / "base")
    write_params(folder, PARAMS)
    return folder


def write_params(folder: Path, params: dict[str, Any]) -> None:
    """Write params.yaml."""
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(copy.deepcopy(params), file)


def change(params: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of `params` with the value at a dotted path replaced."""
    changed = copy.deepcopy(params)
    *parents, last = path.split(".")
    section = changed
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return changed
