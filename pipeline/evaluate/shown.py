"""What the report shows of one student beside its numbers: states, attention, provenance.

A part that this student, store or machine cannot give is written as the reason why.
"""

import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from pipeline.core.atomic import write_json
from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import CheckpointError, DataError, StoreIncompleteError
from pipeline.core.fingerprint import digest_json
from pipeline.evaluate.layer_similarity import layer_similarity
from pipeline.evaluate.shown_attentions import shown_attentions
from pipeline.evaluate.shown_parts import (
    ABSENT,
    ATTENTIONS_NAME,
    PROVENANCE_NAME,
    SIMILARITY_NAME,
)
from pipeline.models.inputs import ModelRows
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array, Signal
from pipeline.store.manifest import Manifest
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import TEACHER_FOLDER, parse_array_name
from pipeline.store.view import View
from pipeline.student.network_settings import STUDENTS
from pipeline.tasks import TASKS
from pipeline.text.tokens import Tokens

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow", "zarr", "scikit-learn")


def write_shown(
    folder: Path,
    student: PreTrainedModel,
    rows: ModelRows,
    tokens: Tokens,
    split: str,
    store_dir: Path,
    view: View,
) -> None:
    """Write `similarity.json`, `attentions.json` and `provenance.json` to `folder`.

    `rows` are the rows of `split` as the student reads them.
    """
    manifest = view.manifest
    task = TASKS[manifest.identity.task]
    is_by_row = task.predicts in ("row", "label", "choice")

    def similarity() -> dict[str, Any]:
        if task.writes or (not is_by_row and student.config.model_type in STUDENTS):
            raise DataError(f"a {student.config.model_type} has no state of the whole row")
        store = open_signal(store_dir, manifest, CLS)
        return {"split": split, **layer_similarity(student, rows, store).as_json()}

    def attentions() -> dict[str, Any]:
        store = open_signal(store_dir, manifest, ATTENTIONS)
        theirs = _as_the_teacher_reads(rows, tokens, split, store_dir)
        first = np.zeros(len(theirs.split), int)
        if is_by_row:  # else no label is of the whole row, and texts are chosen by length
            opened = TeacherStore(store_dir, _cut(manifest, {Array(LOGITS).name}))
            first = opened.logits(opened.find(theirs.split.keys)).numpy().argmax(1)
        texts = shown_attentions(student, rows, store, theirs, first)
        return {"split": split, "texts": texts}

    write_json(folder / SIMILARITY_NAME, _or_reason(similarity))
    write_json(folder / ATTENTIONS_NAME, _or_reason(attentions))
    write_json(folder / PROVENANCE_NAME, provenance(tokens, manifest))


def open_signal(store_dir: Path, manifest: Manifest, signal: Signal) -> TeacherStore:
    """Open those arrays of `signal` that every segment of `manifest` has; no other is needed.

    Raises:
        StoreIncompleteError: it was not captured, or its files are not here.
    """
    names = {name for name in manifest.array_names() if parse_array_name(name).signal == signal}
    if not names:
        raise StoreIncompleteError(
            f"the store has no '{signal.name}'; add it under capture.signals"
        )
    try:
        return TeacherStore(store_dir, _cut(manifest, names))
    except StoreIncompleteError:
        raise StoreIncompleteError(
            f"the files of '{signal.name}' are not on this machine"
        ) from None


def _cut(manifest: Manifest, names: set[str]) -> Manifest:
    """Return the manifest with these arrays alone, and without the teacher's files."""
    segments = tuple(
        segment.model_copy(update={"arrays": {name: segment.arrays[name] for name in names}})
        for segment in manifest.segments
    )
    return manifest.model_copy(update={"segments": segments, "teacher_files": {}})


def _as_the_teacher_reads(
    rows: ModelRows, tokens: Tokens, split: str, store_dir: Path
) -> ModelRows:
    own = tokens.splits[split]
    if rows.split is own:
        return rows
    return ModelRows(own, load_tokenizer(store_dir / TEACHER_FOLDER), rows.inputs)


def _or_reason(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return make()
    except (CheckpointError, DataError, StoreIncompleteError) as error:
        return {ABSENT: str(error)}


def provenance(tokens: Tokens, manifest: Manifest) -> dict[str, Any]:
    """Return what `provenance.json` has: digests that name exactly what was used.

    `manifest` is that of the store, or as much of it as the evaluation reads.
    """
    identity = manifest.identity
    teacher = manifest.teacher
    segments = manifest.segments
    arrays = {
        name: {
            "encoding": segments[0].arrays[name].encoding,
            "size_bytes": sum(segment.arrays[name].chunk.size_bytes for segment in segments),
        }
        for name in sorted(manifest.array_names())
    }
    return {
        "data": {
            "digest": tokens.digest,
            "rows": {name: len(split) for name, split in tokens.splits.items()},
            "unlabelled": {
                name: int((~split.has_label).sum()) for name, split in tokens.splits.items()
            },
            "max_length": tokens.max_length,
            "tokenizer": tokens.tokenizer,
        },
        "teacher": {
            "architecture": teacher.model_type,
            "n_layers": teacher.n_layers,
            "hidden_size": teacher.hidden_size,
            "weights": identity.weights,
            "config": identity.config,
        },
        "store": {
            "identity": digest_json(identity.model_dump(mode="json")),
            "digest": digest_json(manifest.model_dump(mode="json", exclude={"versions"})),
            "n_rows": sum(segment.n_rows for segment in segments),
            "precision": identity.precision,
            "arrays": arrays,
            "versions": dict(sorted(manifest.versions.items())),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
