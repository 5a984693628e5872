"""params.yaml of a new project: this repository's, with what task, data and teacher decide."""

import io
import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.models.architecture import Architecture
from pipeline.project.data import Request
from pipeline.project.params_text import flow, student_lines, with_section
from pipeline.project.students import Schedules, Student, default_students, matched_layers
from pipeline.signals.logits import DEFAULT_TOP_K
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind

TEMPLATE = Path(__file__).parent / "params.yaml"

_LEAST_UPDATES = 300
"""Of a teacher and of each student: fewer leave a new head, or moved layers, near chance."""
_MOST_EPOCHS = 30
_CNN_UPDATES, _MOST_CNN_EPOCHS = 600, 60
"""Of a TextCNN, whose weights but the embeddings are all new, and which is trained in no time."""
_CNN_RATE = 1.0e-3
_BATCH, _SMALL_BATCH = 32, 16
"""Examples in a batch; in a small one where an epoch of large ones has too few updates."""
_QUESTIONS_IN_BATCH = 8
"""Of a multiple choice, whose questions have a row for each choice."""
_WARMUP_RATIO = 0.1
_WIDE = 512
"""Numbers of a hidden state above which a model wants smaller steps."""
_LONG_TEXTS = 256
"""Longest row in tokens of a question answering: a question and most of a paragraph."""
_FEW_LABELLED = 0.5


@dataclass(frozen=True)
class ProjectTeacher:
    """The teacher of a new project."""

    name: str | None
    """As params.yaml has it; None: the packaged one."""
    architecture: Architecture
    most_tokens: int | None
    """Longest row in tokens that it has positions for; None: any."""


@dataclass(frozen=True)
class Sizes:
    """What the settings depend on."""

    n_train: int
    """Rows of the training file, without those set aside for validation."""
    n_unlabelled: int
    """Rows of the file of unlabelled texts."""
    max_rows: int
    """Rows to keep at most of either."""
    n_labelled: int
    """Training examples with a label, of the rows that are kept."""
    n_examples: int
    """All training examples, of the rows that are kept."""

    @property
    def n_kept(self) -> int:
        """Rows of the training file that are kept."""
        return min(self.n_train, self.max_rows)

    @property
    def n_unlabelled_kept(self) -> int:
        """Rows of the file of unlabelled texts that are kept."""
        return min(self.n_unlabelled, self.max_rows)


def max_length(request: Request, most_tokens: int | None, default: int) -> int:
    """Return the longest row in tokens: what the task wants, if the teacher can read it."""
    wanted = _LONG_TEXTS if request.task.predicts == "span" else default
    return wanted if most_tokens is None else min(wanted, most_tokens)


def project_params(
    text: str, request: Request, teacher: ProjectTeacher, sizes: Sizes, *, has_attentions: bool
) -> str:
    """Return the text of `TEMPLATE` for another task, other data and another teacher.

    Sections that task and data decide are written anew: `data`, `task`, `students`. Of the
    others single values change: epochs rise where few rows would give few updates, and what is
    captured is what the students can match.
    """
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 2**16  # no line is broken
    params = yaml.load(text)
    longest = max_length(request, teacher.most_tokens, params["tokenizer"]["max_length"])
    params["tokenizer"]["max_length"] = longest
    if teacher.name is not None:
        params["teacher"]["checkpoint"] = params["tokenizer"]["checkpoint"] = teacher.name
    counts = {"teacher": sizes.n_labelled, "training": sizes.n_examples}
    for section, rates in {"teacher": _OF_TEACHERS, "training": _OF_STUDENTS}.items():
        schedule = _schedule(request.kind, teacher.architecture, counts[section], rates)
        params[section].update(schedule)
    _put_before(params["teacher"], "learning_rate", "warmup_ratio", _WARMUP_RATIO)
    _set_signals(params["capture"]["signals"], request.kind, teacher, has_attentions=has_attentions)
    params["augmentation"]["n_copies"] = 0
    params["export"]["students"] = []
    file = io.StringIO()
    yaml.dump(params, file)
    text = file.getvalue()
    students = default_students(
        request.kind,
        teacher.architecture,
        _schedules(sizes, params["training"]["batch_size"]),
        has_attentions=has_attentions,
    )
    sections = {
        "data": _data_lines(request, sizes),
        "task": [
            "task:",
            *(f"  {key}: {flow(value)}" for key, value in request.task_section.items()),
        ],
        "students": _student_section(students),
    }
    for name, lines in sections.items():
        text = with_section(text, name, lines)
    return text


@dataclass(frozen=True)
class _Rates:
    """Learning rates of narrow and of wide models."""

    narrow: float
    wide: float


_OF_TEACHERS = _Rates(1.0e-4, 5.0e-5)
_OF_STUDENTS = _Rates(3.0e-4, 1.0e-4)


def _schedule(kind: Kind, teacher: Architecture, n_examples: int, rates: _Rates) -> dict[str, Any]:
    """Return the settings of a training over so many examples."""
    batch_size = _BATCH if n_examples >= _LEAST_UPDATES * _BATCH else _SMALL_BATCH
    if TASKS[kind].predicts == "choice":
        batch_size = _QUESTIONS_IN_BATCH
    return {
        "epochs": _epochs(n_examples, batch_size),
        "batch_size": batch_size,
        "learning_rate": rates.narrow if teacher.hidden_size <= _WIDE else rates.wide,
    }


def _epochs(n_examples: int, batch_size: int) -> int:
    return min(_MOST_EPOCHS, math.ceil(_LEAST_UPDATES / math.ceil(n_examples / batch_size)))


def _cnn_schedule(n_examples: int, batch_size: int) -> dict[str, Any]:
    epochs = math.ceil(_CNN_UPDATES / math.ceil(n_examples / batch_size))
    return {"epochs": min(_MOST_CNN_EPOCHS, epochs), "learning_rate": _CNN_RATE}


def _put_before(section: CommentedMap, key: str, name: str, value: Any) -> None:
    """Set a value before another one, whose comment would stand between them otherwise."""
    section.pop(name, None)
    section.insert(list(section).index(key), name, value)


def _schedules(sizes: Sizes, batch_size: int) -> Schedules:
    """Return how some students are trained.

    Where few rows have a label, those that learn from labels alone read these rows alone; else
    most batches would hold nothing that they learn from.
    """
    cnn = _cnn_schedule(sizes.n_examples, batch_size)
    if sizes.n_labelled >= _FEW_LABELLED * sizes.n_examples:
        return Schedules({}, cnn, cnn)
    labelled: dict[str, Any] = {"unlabelled_share": 0}
    return Schedules(
        labels_alone={"epochs": _epochs(sizes.n_labelled, batch_size), **labelled},
        cnn=cnn,
        cnn_of_labels={**_cnn_schedule(sizes.n_labelled, batch_size), **labelled},
    )


def _set_signals(
    signals: CommentedMap, kind: Kind, teacher: ProjectTeacher, *, has_attentions: bool
) -> None:
    """Change what is captured to what the task's students can match."""
    architecture = teacher.architecture
    for signal in [name for name in signals if name not in ("logits", "cls")]:
        del signals[signal]
    if architecture.n_decoder_layers is not None:  # no head reads one token's state
        signals.pop("cls", None)
    if TASKS[kind].predicts == "piece" and architecture.n_labels <= DEFAULT_TOP_K:
        signals["logits"]["top_k"] = architecture.n_labels - 1
    for signal, (_, layer) in matched_layers(architecture).items() if has_attentions else ():
        signals[signal] = _flow_map({"layers": [layer], "encoding": "float16"})


def _flow_map(values: Mapping[str, Any]) -> CommentedMap:
    mapping = CommentedMap(values)
    mapping.fa.set_flow_style()
    return mapping


def _data_lines(request: Request, sizes: Sizes) -> list[str]:
    comments = {"path": "a folder with train, validation and test files; train alone will do"}
    if request.source is None:
        comments = {"path": "not read; DVC looks for it"}
    lines = ["data:"]
    for key, value in request.data_section("data").items():
        comment = f" # {comments[key]}" if key in comments else ""
        lines.append(f"  {key}: {flow(value)}{comment}")
    kept = {"train": sizes.n_train, "unlabelled": sizes.n_unlabelled}
    cut = {split: n_rows for split, n_rows in kept.items() if n_rows > sizes.max_rows}
    if cut:
        of = " and ".join(f"{n_rows:,}" for n_rows in cut.values())
        limits = flow(dict.fromkeys(cut, sizes.max_rows))
        lines.append(f"  max_rows: {limits} # of {of}; without this line all are used")
    return lines


def _student_section(students: Iterable[Student]) -> list[str]:
    lines = [
        line
        for student in students
        for line in student_lines(student.name, student.settings, student.comment)
    ]
    return ["students:", *textwrap.indent("\n".join(lines), "  ").splitlines()]
