"""The teacher of a store that somebody else captured, in the place of one of one's own.

The store carries its teacher's config and tokenizer, and perhaps its weights; nothing is
trained or run to take them. A store without weights can still be read, and can be added to
with the same teacher's checkpoint.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.atomic import replacing_folder, write_json
from pipeline.core.checkpoint import read_config
from pipeline.core.errors import CheckpointError, StoreDamagedError, StoreMismatchError
from pipeline.core.fingerprint import digest_config, digest_file, digest_weights
from pipeline.core.stamp import stamp_in
from pipeline.store.files import is_weights
from pipeline.store.manifest import Identity, Manifest, differing_fields, read_manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.tasks.task import Task
from pipeline.text.tokens import Tokens

ORIGIN_NAME = "taken_from.json"


class _OriginFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    store: str
    identity: Identity


@dataclass(frozen=True)
class Origin:
    """The store that a teacher was taken from."""

    store_dir: Path
    identity: Identity
    """As it was then."""


def take_teacher(
    store_dir: Path,
    checkpoint: Path | None,
    tokens: Tokens,
    task: Task,
    teacher_dir: Path,
    *,
    inputs: Mapping[str, str],
) -> Manifest:
    """Copy a store's teacher to `teacher_dir`; return the store's manifest.

    The weights are the store's or, where a `checkpoint` is given, that one's, which must
    be the same. Without either there is a teacher that nothing can be computed with.

    Raises:
        StoreMismatchError: the store is of other labels, tokens or another task.
        StoreDamagedError: a file is not the one that the manifest names.
        CheckpointError: the checkpoint is another teacher.
    """
    manifest = read_manifest(store_dir)
    check_fits(manifest.identity, tokens, task, store_dir)
    with replacing_folder(teacher_dir) as folder:
        for name, record in manifest.teacher_files.items():
            source = store_dir / TEACHER_FOLDER / name
            if is_weights(name) and (checkpoint is not None or not source.exists()):
                continue
            shutil.copyfile(source, folder / name)
            if digest_file(folder / name) != record.sha256:
                raise StoreDamagedError(
                    f"{source} is not the file that the manifest names. Restore it with "
                    "'dvc checkout'."
                )
        if checkpoint is not None:
            _check_checkpoint(checkpoint, manifest.identity, store_dir)
            for source in sorted(checkpoint.iterdir()):
                if is_weights(source.name):
                    shutil.copyfile(source, folder / source.name)
        if has_weights(folder) and digest_weights(folder) != manifest.identity.weights:
            raise StoreDamagedError(
                f"{store_dir} carries weights that are not those it says it was captured with. Do "
                "not use it; ask who captured it."
            )
        origin = {"store": str(store_dir), "identity": manifest.identity.model_dump(mode="json")}
        write_json(folder / ORIGIN_NAME, origin)
        stamp_in(folder).write(inputs)
    return manifest


def check_fits(identity: Identity, tokens: Tokens, task: Task, store_dir: Path) -> None:
    """Refuse a store that a project's rows cannot be looked up in.

    Raises:
        StoreMismatchError: naming each differing field and both values.
    """
    asked = {
        "task": task.kind,
        "labels": tokens.labels,
        "tokenizer": tokens.tokenizer,
        "max_length": tokens.max_length,
    }
    faults = differing_fields(identity, identity.model_copy(update=asked))
    if faults:
        raise StoreMismatchError(
            f"{store_dir} was captured with {faults}. Name its labels in its order under "
            f"data.labels, its tokenizer ({store_dir / TEACHER_FOLDER}) as tokenizer.checkpoint "
            "and its tokenizer.max_length; or use a store that was captured with yours."
        )


def read_origin(teacher_dir: Path) -> Origin | None:
    """Return the store that a teacher was taken from; None for one of the project's own.

    Raises:
        CheckpointError: the note of it cannot be read.
    """
    path = teacher_dir / ORIGIN_NAME
    if not path.is_file():
        return None
    try:
        file = _OriginFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CheckpointError(f"{path} was altered. Run 'dvc repro --force finetune'.") from error
    return Origin(Path(file.store), file.identity)


def has_weights(teacher_dir: Path) -> bool:
    """Say whether a teacher has weights to compute with."""
    return any(teacher_dir.glob("*.safetensors"))


def differences(identity: Identity, teacher_dir: Path) -> str:
    """Return in what a checkpoint is not the teacher of this identity; empty where it is."""
    found = {
        "weights": digest_weights(teacher_dir),
        "config": digest_config(read_config(teacher_dir)),
    }
    return differing_fields(identity, identity.model_copy(update=found))


def _check_checkpoint(checkpoint: Path, identity: Identity, store_dir: Path) -> None:
    faults = differences(identity, checkpoint)
    if faults:
        raise CheckpointError(
            f"{checkpoint} is not the teacher of {store_dir}, which was captured with {faults}. "
            "Name that teacher, or none."
        )
