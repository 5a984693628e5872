"""What a checkpoint's config.json says of its code, its weights and its head's labels.

Read as JSON, because Transformers takes some of it without a word: it runs a native class in the
place of the checkpoint's own, and replaces label names that contradict `num_labels`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.checkpoint import read_config
from pipeline.core.errors import CheckpointError


def check_config(checkpoint: Path) -> None:
    """Refuse a checkpoint that Transformers would misread, or not read, by its config alone.

    Raises:
        CheckpointError: the model needs code of its own, its weights are quantised, or its
            labels are not such as Transformers can read.
    """
    config, path = read_config(checkpoint), checkpoint / "config.json"
    own_code = config.get("auto_map") or {}
    classes = [str(own_code[name]) for name in own_code if name != "AutoTokenizer"]
    if classes:
        raise CheckpointError(
            f"{path} names classes of the checkpoint's own code in auto_map ({classes[0]}), which "
            "is never run. Name a checkpoint of Transformers' own classes, or take auto_map out "
            "where it is one."
        )
    quantised = config.get("quantization_config")
    if isinstance(quantised, dict):
        method = quantised.get("quant_method", "unknown")
        raise CheckpointError(
            f"{path} says that the weights are quantised ({method}); models are read in float32 "
            "here. Name the checkpoint that was quantised."
        )
    _pairs(path, config, "id2label")


def names_of_head(checkpoint: Path) -> list[str] | None:
    """Return the names of a head's labels in the order of its outputs; None where it names none.

    Those are `id2label` of config.json, or `label2id` where the first says no more than that
    there are labels (`LABEL_0`).

    Raises:
        CheckpointError: both name labels, and not the same ones in the same order, or one of both
            is no numbering from 0.
    """
    config, path = read_config(checkpoint), checkpoint / "config.json"
    given = {key: _read_map(path, config, key) for key in ("id2label", "label2id")}
    for key in ("num_labels", "_num_labels"):
        n_labels, n_names = config.get(key), len(given["id2label"])
        if n_labels is not None and n_names and n_labels != n_names:
            raise CheckpointError(
                f"{path} has {key} {n_labels} and an id2label of {n_names}. Correct the one that "
                "is wrong."
            )
    by_number, by_name = (
        None if names == [f"LABEL_{number}" for number in range(len(names))] else names
        for names in given.values()
    )
    if by_number is None or by_name is None or by_number == by_name:
        return by_number or by_name
    if sorted(by_number) == sorted(by_name):
        what = "has its labels in two orders"
    else:
        what = "gives its labels two sets of names"
    raise CheckpointError(
        f"{path} {what}: {', '.join(by_number)} in id2label, {', '.join(by_name)} in label2id. "
        "Correct the one that is wrong."
    )


def _read_map(path: Path, config: Mapping[str, Any], key: str) -> list[str]:
    """Return the names of `id2label` or `label2id` by number; none where it is not there.

    Raises:
        CheckpointError: it does not number names from 0 without a gap, each name once.
    """
    names: dict[int, str] = {}
    for number, name in _pairs(path, config, key):
        if not isinstance(name, str | int | float):
            raise CheckpointError(f"{path}: {key} has the name {_short(name)}. Give it as text.")
        if number in names:
            raise CheckpointError(
                f"{path}: {key} has the number {number} for '{names[number]}' and for '{name}'. "
                "Give each label its own."
            )
        names[number] = str(name)
    if sorted(names) != list(range(len(names))):
        raise CheckpointError(
            f"{path}: {key} numbers its labels {', '.join(map(str, sorted(names)))}. Number them "
            f"from 0 to {len(names) - 1}, as the head's outputs are."
        )
    ordered = [names[number] for number in range(len(names))]
    twice = sorted({name for name in ordered if ordered.count(name) > 1})
    if twice:
        raise CheckpointError(
            f"{path}: {key} has the name '{twice[0]}' for more than one output. Give each its own."
        )
    return ordered


def _pairs(path: Path, config: Mapping[str, Any], key: str) -> list[tuple[int, Any]]:
    """Return the numbers of `id2label` or `label2id` with what they name.

    Raises:
        CheckpointError: it is no JSON object, or what should be a number is none.
    """
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: {key} is {_short(found)}. Write it as an object.")
    pairs = []
    for left, right in found.items():
        given, name = (left, right) if key == "id2label" else (right, left)
        number = _as_number(given)
        if number is None:
            raise CheckpointError(
                f"{path}: {key} has {_short(given)} for the label {_short(name)}, where the number "
                f"of an output belongs. Number its {len(found)} labels from 0 to "
                f"{len(found) - 1}."
            )
        pairs.append((number, name))
    return pairs


def _as_number(value: object) -> int | None:
    """Return the number of an output, which the keys of a JSON object give as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _short(value: object) -> str:
    return repr(value)[:40]
