"""The small projects of `tests.compare_commits`: the default one, and one for each kind of task.

Between them their students use every objective and every architecture.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from tests.imports import ROOT
from tests.small_project import PARAMS
from tests.tasks.small_tasks import COLUMNS, make_teacher, write_data

ProjectName = Kind | Literal["default"]
PROJECTS: tuple[ProjectName, ...] = ("default", *TASKS)

_TOKEN_STATES = {"hidden_states": {"layers": [1, 2]}, "attentions": {"layers": [1, 2]}}
_DECODER_STATES = {
    "decoder_hidden_states": {"layers": [1, 2]},
    "decoder_attentions": {"layers": [1, 2]},
    "cross_attentions": {"layers": [1, 2]},
}
_LAYER = {"layer_map": [[1, 2]]}
_SMALL = {"batch_size": 16, "micro_batch_size": 5, "epochs": 2}
"""Gradients are accumulated over parts of which the last is smaller."""


def make_project(name: ProjectName, folder: Path) -> dict[str, Any]:
    """Write a project's data and teacher to `folder` and return its params."""
    folder.mkdir(parents=True)
    if name == "default":
        (folder / "data").mkdir()
        return _default_params()
    write_data(folder / "data", name, n_test=12)
    make_teacher(folder / "base", name)
    return {
        **copy.deepcopy(PARAMS),
        "data": {"source": "files", "path": "data", "columns": COLUMNS.get(name, {})},
        "task": {"kind": name},
        # Questions about texts are then read in several windows each.
        "tokenizer": {"checkpoint": "base", "max_length": 16 if "answer" in name else 64},
        "generation": {"splits": _generated(name), "num_beams": 2},
        "augmentation": {"n_copies": 0 if name in _NOT_AUGMENTED else 1},
        "capture": {"segment_rows": 24, "signals": _signals(name)},
        "students": _students(name),
        "export": {
            "students": [] if name in _NOT_EXPORTED else ["kd-1"],
            "int8": name == "classification",
            "license": "unknown",
        },
    }


_NOT_AUGMENTED = (
    "token_classification",
    "multiple_choice",
    "question_answering",
    "masked_lm",
    "sequence_to_sequence",
)
_NOT_EXPORTED = ("masked_lm", "sequence_to_sequence")
_OF_TOKENS = ("masked_lm", "sequence_to_sequence")


def _default_params() -> dict[str, Any]:
    """Return the repository's params, small as in .ci/run."""
    params: dict[str, Any] = YAML(typ="safe").load((ROOT / "params.yaml").read_text("utf-8"))
    params["data"]["docstrings"] |= {
        "n_labelled": 60,
        "max_sentences": {"train": 160, "validation": 80, "test": 80},
    }
    params["teacher"]["epochs"] = 1
    params["evaluation"]["n_latency_repeats"] = 1
    for name in ("hard-cnn", "kd-cnn", "hard-3"):
        params["students"][name]["training"]["epochs"] = 1
    return params


def _generated(name: Kind) -> list[str]:
    return ["train", "validation", "test"] if name == "sequence_to_sequence" else []


def _signals(name: Kind) -> dict[str, Any]:
    logits: dict[str, Any] = {"encoding": "float32"}
    if name in _OF_TOKENS:
        logits["top_k"] = 8
    if name == "sequence_to_sequence":
        return {"logits": logits, "cls": None, **_TOKEN_STATES, **_DECODER_STATES}
    attentions = {"layers": [1, 2], "encoding": "uint8_cbrt"}
    return {"logits": logits, **_TOKEN_STATES, "attentions": attentions}


def _students(name: Kind) -> Mapping[str, Any]:
    soft = "logit_match" if name == "regression" else "soft_target"
    softened = {} if name == "regression" else {"temperature": 1.0 if name in _OF_TOKENS else 2.0}
    taught = {"hard_label": {"weight": 0.5}, soft: softened}
    students: dict[str, Any] = {
        "kd-1": {"model": {"n_layers": 1}, "objectives": taught},
        "layers-1": {
            "model": {"n_layers": 1, "warm_start": "every"},
            "objectives": {
                **taught,
                "hidden_states": _LAYER,
                "attentions": {**_LAYER, "distance": "kl"},
            },
            "training": _SMALL,
        },
    }
    if name == "sequence_to_sequence":
        students["kd-1"]["targets"] = "both"
        students["layers-1"]["objectives"] |= {
            "decoder_hidden_states": _LAYER,
            "decoder_attentions": _LAYER,
            "cross_attentions": _LAYER,
        }
        return students
    students["layers-1"]["objectives"]["cls"] = {**_LAYER, "normalise": "standardise"}
    students["narrow"] = {
        "model": {"n_layers": 1, "hidden_size": 8, "n_heads": 2, "warm_start": "none"},
        "objectives": {
            **taught,
            "cls": {**_LAYER, "normalise": "l2", "projection": True},
            "hidden_states": {**_LAYER, "distance": "cosine", "projection": True},
            "attentions": {**_LAYER, "heads": "mean"},
            "similarity": _LAYER,
        },
    }
    if name in ("classification", "regression", "multi_label"):
        students["cnn"] = {"model": {"architecture": "text_cnn"}, "objectives": taught}
        students["cnn"]["training"] = _SMALL
        students["lstm"] = {"model": {"architecture": "bilstm"}, "objectives": taught}
    if name == "token_classification":
        students["lstm"] = {"model": {"architecture": "bilstm_tagger"}, "objectives": taught}
    if name == "classification":
        students["adversarial"] = {
            "model": {"n_layers": 1},
            "objectives": {**taught, "adversarial": _LAYER},
            "augmented": True,
        }
    return students
