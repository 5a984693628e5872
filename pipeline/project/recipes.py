"""Students that commands add to params.yaml: named methods, and others of the same but the seed.

A recipe is a file of the folder `recipes/` (see `pipeline.project.shipped`): a comment, one student
below `students`, and below `capture.signals` what this student reads beyond the logits. The
student is put into params.yaml as it is written, comments included.

A training depends on its seed (the order of the rows, dropout, new weights), so one score says
little about a method. The students of other seeds differ in `training.seed` alone, and DVC trains
each once.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params, parse_section
from pipeline.project.params_text import flow, student_lines, with_students, with_value
from pipeline.project.shipped import BESIDE_PACKAGE, Shipped, find_shipped, read_shipped
from pipeline.teacher.capture_settings import SignalsSettings
from pipeline.train.settings import StudentSettings, training_of

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
    def signals(self) -> dict[str, Any]:
        """What `capture.signals` must ask for, beyond the logits."""
        signals: dict[str, Any] = (self._parse().get("capture") or {}).get("signals") or {}
        return signals

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
            f"params.yaml: students.{name} is there already; give another name with --as NAME"
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


def _with_signals(text: str, wanted: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the text with what is missing of `wanted` in `capture.signals`, and the changes."""
    signals = (parse_params(text).get("capture") or {}).get("signals") or {}
    changes = []
    for name, settings in wanted.items():
        place = ("capture", "signals", name)
        held = signals.get(name)
        if name not in signals and SignalsSettings.model_fields[name].default is not None:
            continue  # captured without being asked for
        if held is None:
            text = with_value(text, place, settings, keeps_comment=True)
            changes.append(f"{'.'.join(place)}: added, {flow(settings)}")
            continue
        layers = held.get("layers", ())
        missing = [layer for layer in settings.get("layers", ()) if layer not in layers]
        if missing:
            both = {**held, "layers": sorted([*layers, *missing])}
            text = with_value(text, place, both, keeps_comment=True)
            changes.append(f"{'.'.join(place)}.layers: added {', '.join(map(str, missing))}")
    return text, changes


def add_seeds(text: str, name: str, seeds: Sequence[int]) -> tuple[str, list[str]]:
    """Return the text of params.yaml with a student for each seed, and the names of the new ones.

    `text` is that of a params file without faults. The students are called `NAME-seedN`; one
    that is there already, just as it would be added, is left as it is.

    Raises:
        SettingsError: there is no such student, it has one of the seeds itself, or another
            student has the name of a new one.
    """
    params = parse_params(text)
    students = params["students"]
    if name not in students:
        near = difflib.get_close_matches(name, map(str, students), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(students)}"
        raise SettingsError(f"params.yaml: there is no student '{name}'; {remedy}")
    settings, place = students[name], f"students.{name}"
    own = training_of(params, parse_section(StudentSettings, settings, place), place).seed
    faults, added = [], {}
    for seed in dict.fromkeys(seeds):
        copy = f"{name}-seed{seed}"
        seeded = {**settings, "training": {**(settings.get("training") or {}), "seed": seed}}
        if seed == own:
            faults.append(f"params.yaml: {place} has the seed {seed} itself; leave it out")
        elif copy not in students:
            added[copy] = seeded
        elif students[copy] != seeded:
            faults.append(
                f"params.yaml: students.{copy} differs from {place} in more than the seed; "
                "rename or remove it"
            )
    if faults:
        raise SettingsError(*faults)
    if not added:
        return text, []
    lines = [line for copy, seeded in added.items() for line in student_lines(copy, seeded)]
    return with_students(text, lines, added, "copy the student by hand"), list(added)
