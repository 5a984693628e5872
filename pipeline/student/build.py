"""A new student, with the weights it starts from."""

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from pipeline.store.files import check_weights
from pipeline.store.manifest import Manifest
from pipeline.student.network import build_network
from pipeline.student.network_settings import NetworkSettings
from pipeline.student.settings import ModelSettings, TransformerSettings
from pipeline.student.transformer import build_transformer
from pipeline.tasks.task import Task


def build_student(
    settings: ModelSettings,
    manifest: Manifest,
    store_dir: Path,
    task: Task,
    *,
    say: Callable[[str], None],
) -> PreTrainedModel:
    """Return a new student in float32; what starts from nothing is of torch's generator.

    A table of what was copied from where goes to `say`, line by line.

    Raises:
        SettingsError: the settings do not fit the teacher.
        CheckpointError: the weights to start from are not there, or do not fit.
        StoreIncompleteError: they were captured, but not fetched.
    """
    if settings.reads_teacher_weights:
        check_weights(store_dir, manifest)
    if isinstance(settings, NetworkSettings):
        return build_network(settings, manifest, store_dir, task, say=say)
    assert isinstance(settings, TransformerSettings)
    return build_transformer(settings, manifest, store_dir, task, say=say)
