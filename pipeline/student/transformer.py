"""Students that are the teacher's architecture with fewer layers."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from transformers import AutoConfig, PreTrainedModel

from pipeline.settings import Section
from pipeline.store.manifest import Manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.warm_start import NamedStart, copy_teacher_layers, teacher_layers
from pipeline.tasks.task import Task


class TransformerSettings(Section):
    """`students.NAME.model`."""

    architecture: Literal["transformer"] = "transformer"
    n_layers: int = Field(ge=1)
    warm_start: NamedStart | tuple[int, ...] = "first"
    """Teacher layers the student starts from: the `first` ones, `every` N/M-th, a list of
    layer numbers, or `none`. Embeddings and head come along unless it is `none`."""


def build_student(
    settings: TransformerSettings, manifest: Manifest, store_dir: Path, task: Task
) -> PreTrainedModel:
    """Return a new student; without a warm start its weights come from torch's generator.

    Raises:
        SettingsError: the warm start names layers that do not fit.
        CheckpointError: the store does not carry the teacher's weights.
    """
    config: Any = AutoConfig.from_pretrained(store_dir / TEACHER_FOLDER)
    config.num_hidden_layers = settings.n_layers
    student = task.auto_model.from_config(config)
    assert isinstance(student, PreTrainedModel)
    layers = teacher_layers(settings.warm_start, settings.n_layers, manifest.teacher.n_layers)
    if layers:
        copy_teacher_layers(student, store_dir / TEACHER_FOLDER, layers)
    return student
