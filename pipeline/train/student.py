"""A student of params.yaml: what it is, what it learns from and how, resolved in one place.

Everything here can be read and checked without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import SettingsError
from pipeline.core.settings import faults_at, parse_section
from pipeline.objectives.needs import Needs
from pipeline.signals.models import Models
from pipeline.store.manifest import Manifest, read_manifest
from pipeline.store.view import View, make_view
from pipeline.student.model import digest_start, model_of, models_of
from pipeline.student.settings import ModelSettings
from pipeline.tasks.task import Task
from pipeline.text.tokens import Tokens
from pipeline.train.settings import StudentSettings, TrainingSettings, training_of


@dataclass(frozen=True)
class Student:
    """One student, its own training settings on top of those of the `training` section."""

    name: str
    model: ModelSettings
    settings: StudentSettings
    training: TrainingSettings

    @property
    def place(self) -> str:
        """Its dotted name in params.yaml."""
        return place_of(self.name)

    def models(self, manifest: Manifest) -> Models:
        """Return the student beside the teacher of a store.

        Raises:
            SettingsError, CheckpointError: there can be no such student of this teacher.
        """
        return models_of(self.model, manifest)

    def needs(self, models: Models) -> Needs:
        """Return what its objectives read of either model.

        Raises:
            SettingsError: with a line for each objective that cannot compare the two.
        """
        needs: Needs = self.settings.objectives.needs(models)
        return needs

    def view(self, store_dir: Path, tokens: Tokens) -> View:
        """Return what the student reads; of the store, manifest and row tables are read.

        `tokens` are those that it is trained on.

        Raises:
            SettingsError: it cannot be compared with the teacher.
            StoreMismatchError: the tokens belong to another tokenizer, label set or length limit.
            StoreIncompleteError: an array was not captured, or rows are missing.
        """
        manifest = read_manifest(store_dir)
        with faults_at(self.place):
            models = self.models(manifest)
            needs = self.needs(models)
        # Logits are always read: every student is compared with its teacher.
        arrays = needs.teacher | models.logits
        return make_view(
            store_dir, manifest, tokens, arrays, needs.other_stores, digest_start(self.model)
        )


@dataclass(frozen=True)
class StudentData:
    """What a student is trained and evaluated on."""

    view: View
    store_dir: Path
    tokens: Tokens
    task: Task


def place_of(name: str) -> str:
    """Return the dotted name of a student in params.yaml."""
    return f"students.{name}"


def resolve_student(params: Mapping[str, Any], name: str) -> Student:
    """Return the student that params.yaml calls `name`.

    Raises:
        SettingsError: there is no such student, or with one line for each fault.
    """
    if name not in params["students"]:
        known = ", ".join(params["students"])
        raise SettingsError(f"params.yaml: {place_of(name)}: no such student; there are {known}")
    student, faults = read_student(params, name)
    if student is None or faults:
        raise SettingsError(*faults)
    return student


def read_student(params: Mapping[str, Any], name: str) -> tuple[Student | None, list[str]]:
    """Return a student, and a line for each fault; None where it cannot be compared with others.

    A student whose training alone has faults is returned with the default training.
    """
    value, place = params["students"][name], place_of(name)
    settings, model, training = None, None, TrainingSettings()
    faults: list[str] = []
    try:
        settings = parse_section(StudentSettings, value, place)
    except SettingsError as error:
        faults += error.faults
    try:
        if isinstance(value, dict) and isinstance(value.get("model"), dict):
            model = model_of(value["model"], place)
    except SettingsError as error:
        faults += error.faults
    try:
        if settings is not None:
            training = training_of(params, settings, place)
    except SettingsError as error:
        faults += error.faults
    if settings is None or model is None:
        return None, faults
    return Student(name, model, settings, training), faults
