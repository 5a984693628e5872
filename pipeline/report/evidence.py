"""What the report shows of one student beside its metrics, read from the files of its stages."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.core.arrow import as_numpy
from pipeline.core.errors import PipelineError
from pipeline.evaluate.shown_parts import (
    ATTENTIONS_NAME,
    PROVENANCE_NAME,
    SIMILARITY_NAME,
    Attentions,
    Part,
    Provenance,
    Similarity,
    texts_name,
)
from pipeline.report.wording import CONFIDENCES, WORDINGS
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from pipeline.text.tokens import is_labelled

Probabilities = Float[np.ndarray, "prediction class"]

_COLUMNS = ("row", "place", "text", "text_pair", "label", "student_logits", "teacher_logits")
_TEXTS = ("text", "references", "student", "teacher")

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Predictions:
    """Both models' answers for all that students are compared on."""

    kind: Kind
    labels: NDArray[np.int64] | NDArray[np.float64]
    """-1, or not a number, where there is none."""
    student: Probabilities
    """For regression, the numbers themselves; of tokens, in the teacher's classes."""
    teacher: Probabilities
    table: pa.Table
    """The file, for the texts."""

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Which predictions have a label."""
        return is_labelled(self.labels)

    @property
    def numbers_of_labels(self) -> Integer[np.ndarray, " prediction"]:
        """The labels of a task that has classes."""
        return self.labels.astype(np.int64)

    @property
    def names_tokens(self) -> bool:
        """Whether each prediction is one token of a vocabulary, whose text stands in the file."""
        return CONFIDENCES[0] in self.table.column_names

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Which predictions have the same first for both models."""
        if self.names_tokens:
            ours, theirs = (self.table[f"{who}_token"] for who in ("student", "teacher"))
            return as_numpy(pc.equal(ours, theirs))
        return np.asarray(self.student.argmax(1) == self.teacher.argmax(1))

    @property
    def confidences(self) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        """The probabilities that student and teacher give to what they put first."""
        if self.names_tokens:
            ours, theirs = (as_numpy(self.table[name]) for name in CONFIDENCES)
            return ours, theirs
        return self.student.max(1), self.teacher.max(1)

    @property
    def divergence(self) -> NDArray[np.float64]:
        """How far the two models are apart in each prediction: `kl`, or of numbers |difference|."""
        if TASKS[self.kind].predicts_numbers:
            return np.asarray(np.abs(self.student - self.teacher)[:, 0])
        return self.kl

    @cached_property
    def kl(self) -> NDArray[np.float64]:
        """KL(teacher || student) of each prediction at temperature 1, in nats."""
        tiny = np.finfo(np.float64).tiny  # 0 log 0 is 0
        ratio = np.log(np.maximum(self.teacher, tiny)) - np.log(np.maximum(self.student, tiny))
        return np.asarray((self.teacher * ratio).sum(1).clip(min=0))


@dataclass(frozen=True)
class Curve:
    """One number over the steps of a training."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """All that was found of one student; text says why a part was not."""

    predictions: Predictions | str
    similarity: Similarity | str
    attentions: Attentions | str
    texts: pa.Table | str
    """What the models wrote or answered."""
    provenance: Provenance | str
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """By name, such as `train/soft_target`."""


def read_evidence(evaluation_dir: Path, curves_dir: Path, split: str, kind: Kind) -> Evidence:
    """Return what there is of a student; `split` is the one that students are compared on.

    `kind` is that of their task.

    Raises:
        PipelineError: a file is not what `evaluate` writes.
    """
    return Evidence(
        predictions=_read_predictions(evaluation_dir / f"{split}.arrow", kind),
        similarity=_read(Similarity, evaluation_dir / SIMILARITY_NAME),
        attentions=_read(Attentions, evaluation_dir / ATTENTIONS_NAME),
        texts=_read_table(evaluation_dir / texts_name(split), _TEXTS),
        provenance=_read(Provenance, evaluation_dir / PROVENANCE_NAME),
        curves=_read_curves(curves_dir),
    )


def _read(model: type[P], path: Path) -> P | str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return f"{path} is not here"
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        try:
            return _Absence.model_validate_json(content).absent
        except ValidationError:
            raise _damaged(path, error.errors()[0]["msg"]) from None


class _Absence(Part):
    absent: str


def _read_predictions(path: Path, kind: Kind) -> Predictions | str:
    table = _read_table(path, [*_COLUMNS, *WORDINGS[kind].columns])
    if isinstance(table, str):
        return table
    try:
        student, teacher = (
            _as_table(table[f"{who}_logits"].combine_chunks()) for who in ("student", "teacher")
        )
        labels = as_numpy(table["label"].combine_chunks())
    except (pa.ArrowException, ValueError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from None
    if not TASKS[kind].predicts_numbers:
        student, teacher = _softmax(student), _softmax(teacher)
    return Predictions(kind, labels, student, teacher, table)


def _read_table(path: Path, columns: Sequence[str]) -> pa.Table | str:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all().select(columns)
    except FileNotFoundError:
        return f"{path} is not here"
    except (pa.ArrowException, KeyError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from None


def _as_table(lists: pa.ListArray) -> Float[np.ndarray, "prediction class"]:
    values = as_numpy(lists.flatten()).astype(np.float64)
    return values.reshape(len(lists), len(lists[0]) if len(lists) else 0)


def _softmax(logits: Float[np.ndarray, "prediction class"]) -> Probabilities:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _read_curves(folder: Path) -> dict[str, Curve]:
    curves = {}
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            _, *rows = csv.reader(file, delimiter="\t")
        try:
            steps = np.array([int(row[0]) for row in rows], dtype=np.int64)
            values = np.array([float(row[-1]) for row in rows], dtype=np.float64)
        except (IndexError, ValueError) as error:
            raise _damaged(path, str(error)) from None
        if len(steps):
            curves[path.relative_to(folder).with_suffix("").as_posix()] = Curve(steps, values)
    return curves


def _damaged(path: Path, fault: str) -> PipelineError:
    return PipelineError(
        f"{path} is not what its stage writes: {fault}. Restore it with 'dvc checkout', or run "
        "that stage again."
    )
