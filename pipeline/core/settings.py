"""params.yaml: from text to validated sections, with every fault reported at once.

The models themselves live beside the code that uses them; this file knows none
of them, so that a new training option cannot mark the teacher stages as changed.
"""

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.core.errors import SettingsError

PARAMS_PATH = Path("params.yaml")


class Section(BaseModel):
    """A part of params.yaml: immutable, without unknown keys, without silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


def read_params(path: Path = PARAMS_PATH) -> dict[str, Any]:
    """Return the mapping that a params file holds (YAML 1.2, so `1e-4` is a number).

    Raises:
        SettingsError: the file is missing, is not YAML, or is not a mapping.
    """
    return parse_params(read_params_text(path), path)


def read_params_text(path: Path = PARAMS_PATH) -> str:
    """Return a params file as it is written.

    Raises:
        SettingsError: the file is missing, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file. Run from the project's folder.") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8: {error}") from None


def parse_params(text: str, path: Path = PARAMS_PATH) -> dict[str, Any]:
    """Return the mapping that the text of a params file is; `path` is named in faults.

    Raises:
        SettingsError: the text is not YAML, or is not a mapping.
    """
    try:
        params = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise SettingsError(f"{path}: expected sections at the top, found {params!r}")
    return params


def parse_section(model: type[SectionT], value: Any, place: str) -> SectionT:
    """Return the section `value` as `model`.

    `place` is the dotted name that faults begin with, such as `students.kd-3`.

    Raises:
        SettingsError: with one line for each fault in the section.
    """
    try:
        # Through JSON, strictness keeps to what YAML can say: a list may be a tuple, and
        # a string a path, but a string is never a number.
        return model.model_validate_json(json.dumps({} if value is None else value, default=str))
    except TypeError:
        raise SettingsError(f"{place}: a key in it is neither text nor a number") from None
    except ValidationError as error:
        faults = [fault for fault in error.errors() if not _is_of_other_branch(fault)]
        raise SettingsError(*(_describe(fault, model, place, value) for fault in faults)) from None


@contextmanager
def faults_at(place: str) -> Iterator[None]:
    """Let the faults that are found within begin with the dotted name of where they are."""
    try:
        yield
    except SettingsError as error:
        raise SettingsError(*(f"{place}.{fault}" for fault in error.faults)) from error


def unknown_key(place: str, key: str, known: list[str]) -> str:
    """Return the fault line for a key that nothing reads, with the nearest known one."""
    near = difflib.get_close_matches(key, known, n=1)
    remedy = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(known))}"
    where = f"{place}.{key}" if place else key
    return f"{where}: unknown key; {remedy}"


def _is_of_other_branch(fault: ErrorDetails) -> bool:
    """Say whether a fault, where values of two kinds fit, is told better by another one."""
    branch = str(fault["loc"][-1]) if fault["loc"] else ""
    if fault["type"] == "model_type":  # a number, or an object
        return branch == str(fault["ctx"]["class_name"])
    if fault["type"] == "float_type" and isinstance(fault["input"], dict):
        return True
    if branch.startswith("literal["):
        return isinstance(fault["input"], list)
    return branch.startswith("tuple[") and fault["type"] == "tuple_type"


def _keys(loc: tuple[int | str, ...], value: Any) -> list[int | str]:
    """Return the keys and positions in `loc`, without the names of a union's branches."""
    keys: list[int | str] = []
    for position, part in enumerate(loc, start=1):
        is_branch = (
            # Only the last key may be one that is missing.
            position < len(loc) and str(part) not in map(str, value)
            if isinstance(value, dict)
            else isinstance(part, str)
        )
        if is_branch:
            continue
        keys.append(part)
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = None
    return keys


def _describe(fault: ErrorDetails, model: type[BaseModel], place: str, value: Any) -> str:
    loc = _keys(fault["loc"], {} if value is None else value)
    *path, key = loc or ("",)
    if fault["type"] == "extra_forbidden":
        known = sorted({name for owner in _models_at(model, path) for name in owner.model_fields})
        return unknown_key(".".join([place, *map(str, path)]), str(key), known)
    where = ".".join([place, *map(str, loc)])
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if fault["type"] == "missing":
        return f"{where}: missing; give it a value"
    if fault["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {message}, got {fault['input']!r}"


def _models_at(annotation: Any, path: list[int | str]) -> Iterator[type[BaseModel]]:
    """Yield the models that `path` can lead to, looking through unions."""
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _models_at(option, path)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            yield annotation
        elif field := annotation.model_fields.get(str(path[0])):
            yield from _models_at(field.annotation, path[1:])
        else:  # a union's branch name stands in the path without being a field
            yield from _models_at(annotation, path[1:])
