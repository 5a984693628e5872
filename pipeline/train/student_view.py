"""A student's view of the store, from params.yaml, the token table and the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import SettingsError
from pipeline.core.settings import faults_at, parse_section
from pipeline.store.manifest import read_manifest
from pipeline.store.view import View, make_view
from pipeline.student.model import digest_start, model_of, models_of
from pipeline.student.settings import ModelSettings
from pipeline.text.joined import open_training_tokens
from pipeline.train.settings import StudentSettings


@dataclass(frozen=True)
class StudentView:
    """What a student is, and what it reads."""

    model: ModelSettings
    view: View


def student_view(
    name: str,
    params: Mapping[str, Any],
    store_dir: Path,
    tokens_dir: Path,
    augmented_dir: Path,
    generated_dir: Path,
) -> StudentView:
    """Return what the student `name` reads; of the store, manifest and row tables are read.

    Raises:
        SettingsError: there is no such student, or it cannot be compared with the teacher.
        StoreMismatchError: the tokens belong to another tokenizer, label set or length limit.
        StoreIncompleteError: an array was not captured, or rows are missing.
    """
    if name not in params["students"]:
        known = ", ".join(params["students"])
        raise SettingsError([f"params.yaml: students.{name}: no such student; there are {known}"])
    place = f"students.{name}"
    settings = parse_section(StudentSettings, params["students"][name], place)
    manifest = read_manifest(store_dir)
    model = model_of(settings.model, place)
    with faults_at(place):
        models = models_of(model, manifest)
        needs = settings.objectives.needs(models)
    # Logits are always read: every student is compared with its teacher.
    arrays = needs.teacher | models.logits
    tokens = open_training_tokens(
        tokens_dir,
        augmented_dir,
        generated_dir,
        is_augmented=settings.augmented,
        targets=settings.targets,
    )
    view = make_view(store_dir, manifest, tokens, arrays, needs.other_stores, digest_start(model))
    return StudentView(model, view)
