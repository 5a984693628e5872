"""From `students.NAME.model` to its settings, and to what can be compared with a teacher."""

from typing import Any

from pipeline.core.checkpoint import load_tokenizer, read_config
from pipeline.core.errors import SettingsError
from pipeline.core.fingerprint import digest_config, digest_json, digest_tokenizer, digest_weights
from pipeline.core.settings import faults_at, parse_section
from pipeline.signals.models import Models
from pipeline.store.manifest import Manifest
from pipeline.store.spec import parse_array_name
from pipeline.student.network_settings import STUDENTS
from pipeline.student.settings import TRANSFORMER, ModelSettings, TransformerSettings
from pipeline.tasks import TASKS


def model_of(value: Any, place: str) -> ModelSettings:
    """Return the settings of a student's model; `place` is the dotted name of the student.

    Raises:
        SettingsError: with one line for each fault.
    """
    place = f"{place}.model"
    architecture = value.get("architecture", TRANSFORMER) if isinstance(value, dict) else None
    if isinstance(architecture, str) and architecture in STUDENTS:
        return parse_section(STUDENTS[architecture], value, place)
    if isinstance(value, dict) and architecture != TRANSFORMER:
        known = ", ".join([TRANSFORMER, *STUDENTS])
        raise SettingsError(f"{place}.architecture: should be one of {known}, got {architecture!r}")
    return parse_section(TransformerSettings, value, place)


def digest_start(model: ModelSettings) -> str | None:
    """Return the digest of the checkpoint that a student names: weights, config, tokenizer.

    Raises:
        CheckpointError: there is no such checkpoint, or a part of it is missing.
    """
    folder = model.tokenizer_folder()
    if folder is None:
        return None
    parts = digest_weights(folder), digest_config(read_config(folder))
    return digest_json([*parts, digest_tokenizer(load_tokenizer(folder))])


def models_of(model: ModelSettings, manifest: Manifest) -> Models:
    """Return a student and the teacher of a store, as objectives are to compare them.

    Raises:
        SettingsError, CheckpointError: there can be no such student of this teacher.
    """
    with faults_at("model"):
        shape = model.shape(manifest.teacher, manifest.identity.tokenizer)
    models = Models(
        student=shape,
        teacher=manifest.teacher,
        task=TASKS[manifest.identity.task],
        captured=frozenset(parse_array_name(name) for name in manifest.array_names()),
    )
    faults = models.head_faults()
    if faults:
        raise SettingsError(*(f"model.{fault}" for fault in faults))
    return models
