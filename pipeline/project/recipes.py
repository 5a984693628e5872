"""Recipes: named methods as students for params.yaml.

A recipe is a file of the folder `recipes/` (see `pipeline.project.shipped`): a comment, one student
below `students`, and below `capture.signals` what this student reads beyond the logits.

A student is put into params.yaml as it is written, comments included. Signals are added by a
round trip of the section `capture`, which is made only where one is missing.
"""

import io
import re
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params
from pipeline.project.params_text import lines_of, round_trip, with_students
from pipeline.project.shipped import BESIDE_PACKAGE, Shipped, find_shipped, read_shipped
from pipeline.teacher.capture_settings import SignalsSettings

RECIPES = BESIDE_PACKAGE / "recipes"

_TOP_LEVEL = re.compile(r"[^\s#]")


@dataclass(frozen=True)
class Recipe(Shipped):
    """One file of `recipes/`."""

    @property
    def student(self) -> str:
        """The student's name, unless another is asked for."""
        (name,) = self._parse()["students"]
        return str(name)

    @property
    def settings(self) -> dict[str, Any]:
        """`students.NAME` as the recipe has it."""
        settings: dict[str, Any] = self._parse()["students"][self.student]
        return settings

    @property
    def signals(self) -> CommentedMap:
        """What `capture.signals` must ask for, beyond the logits; written as in the recipe."""
        capture = YAML().load(self.text).get("capture")
        return CommentedMap() if capture is None else capture["signals"]

    def student_lines(self, name: str) -> list[str]:
        """Return the student as written, under another name, from the first column on."""
        lines = self.text.splitlines()
        start = lines.index("students:") + 1
        stop = start
        while stop < len(lines) and not _TOP_LEVEL.match(lines[stop]):
            stop += 1
        own = lines[start].index(self.student)
        moved = [line[own:] for line in lines[start:stop]]
        return [moved[0].replace(self.student, name, 1), *moved[1:]]

    def _parse(self) -> dict[str, Any]:
        return parse_params(self.text, RECIPES / f"{self.name}.yaml")


def list_recipes() -> list[Recipe]:
    """Return all recipes, by name."""
    return read_shipped(RECIPES, Recipe)


def find_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        SettingsError: there is none of this name; with the nearest one, or all names.
    """
    return find_shipped(list_recipes(), name)


def apply_recipe(text: str, recipe: Recipe, name: str) -> tuple[str, list[str]]:
    """Return the text of params.yaml with the recipe's student added, and what was changed.

    `text` is that of a params file without faults. The student is called `name`; that it was
    added is the first change. Signals and layers are added to `capture.signals`; none is taken
    away, and the encodings of those that are there stay. Whether the result has faults is left to
    the caller to check.

    Raises:
        SettingsError: there is a student of this name, or the file is written so that none
            can be added to it.
    """
    students = parse_params(text)["students"]
    if name in students:
        raise SettingsError(
            [f"params.yaml: students.{name} is there already; give another name with --as NAME"]
        )
    text, changes = _with_signals(text, recipe.signals)
    changed = with_students(
        text,
        recipe.student_lines(name),
        {name: recipe.settings},
        f"add the lines of 'decant recipe {recipe.name}' by hand",
    )
    return changed, [f"students.{name}: added", *changes]


def next_step(changes: Sequence[str]) -> str:
    """Return what is to be done after `apply_recipe` has made these changes."""
    _, *of_signals = changes
    if of_signals:
        return "'decant plan' says what is to be captured, 'dvc repro' captures and trains."
    return "No further signal is to be captured; 'dvc repro' trains it."


def _with_signals(text: str, asked: CommentedMap) -> tuple[str, list[str]]:
    """Return the text with what is missing of `asked` in `capture.signals`, and the changes."""
    yaml = round_trip()
    params, lines = yaml.load(text), text.splitlines()
    is_new = "capture" not in params
    signals = _section(_section(params, "capture"), "signals")
    changes = []
    for name, settings in asked.items():
        place = f"capture.signals.{name}"
        if name not in signals and SignalsSettings.model_fields[name].default is not None:
            continue  # captured without being asked for
        if signals.get(name) is None:
            signals[name] = settings
            changes.append(f"{place}: added, {_flow(settings)}")
            continue
        held = signals[name].get("layers", ())
        missing = [layer for layer in settings.get("layers", ()) if layer not in held]
        for layer in missing:
            insort(held, layer)
        if missing:
            changes.append(f"{place}.layers: added {', '.join(map(str, missing))}")
    if not changes:
        return text, []
    if not is_new:
        yaml.map_indent = params["capture"].lc.col or None
    section = io.StringIO()
    yaml.dump({"capture": params["capture"]}, section)
    start, stop = (len(lines),) * 2 if is_new else lines_of(params, "capture", len(lines))
    lines[start:stop] = section.getvalue().splitlines()
    return "\n".join(lines) + "\n", changes


def _section(parent: CommentedMap, name: str) -> CommentedMap:
    """Return a section, made where it is missing or empty."""
    if parent.get(name) is None:
        parent[name] = CommentedMap()
    section = parent[name]
    assert isinstance(section, CommentedMap)
    return section


def _flow(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
