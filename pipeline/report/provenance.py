"""Where the report's numbers come from, as pairs of a name and a text, and the stages' times."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.evaluate.shown_parts import Provenance

_DIGEST_DIGITS = 16
_OF_THE_TEACHER = ("prepare", "augment", "finetune", "generate", "capture")
_OF_A_STUDENT = ("distill", "evaluate")


def describe_provenance(by_student: Mapping[str, Provenance]) -> tuple[tuple[str, str], ...]:
    """Return (name, text) pairs; where students differ, each text says whose it is."""
    facts: tuple[tuple[str, Callable[[Provenance], str]], ...] = (
        ("Data", _describe_data),
        ("Tokenizer", lambda one: _digest(one.data["tokenizer"])),
        ("Teacher", _describe_teacher),
        ("Store", _describe_store),
        ("Signals", _describe_arrays),
        ("Captured with", lambda one: _versions(one.store["versions"])),
        ("Evaluated with", lambda one: _versions(one.versions)),
    )
    return tuple((name, _joined(by_student, describe)) for name, describe in facts)


def _joined(by_student: Mapping[str, Provenance], describe: Callable[[Provenance], str]) -> str:
    students_by_text: dict[str, list[str]] = {}
    for student, one in by_student.items():
        students_by_text.setdefault(describe(one), []).append(student)
    if len(students_by_text) == 1:
        return next(iter(students_by_text))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in students_by_text.items())


def _describe_data(one: Provenance) -> str:
    unlabelled = one.data["unlabelled"]
    marks = {name: f" ({count:,} unlabelled)" for name, count in unlabelled.items() if count}
    rows = ", ".join(
        f"{name} {count:,}{marks.get(name, '')}" for name, count in one.data["rows"].items()
    )
    return (
        f"token table {_digest(one.data['digest'])}; rows: {rows}; up to "
        f"{one.data['max_length']:,} tokens"
    )


def _describe_teacher(one: Provenance) -> str:
    teacher = one.teacher
    return (
        f"{teacher['architecture']}, {teacher['n_layers']} layers, width "
        f"{teacher['hidden_size']:,}; weights {_digest(teacher['weights'])}, config "
        f"{_digest(teacher['config'])}"
    )


def _describe_store(one: Provenance) -> str:
    return (
        f"identity {_digest(one.store['identity'])}, what is compared here "
        f"{_digest(one.store['digest'])}; {one.store['n_rows']:,} distinct rows, computed in "
        f"{one.store['precision']}"
    )


def _describe_arrays(one: Provenance) -> str:
    return ", ".join(
        f"{name} ({array['encoding']}, {array['size_bytes'] / 2**20:,.1f} MiB)"
        for name, array in one.store["arrays"].items()
    )


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items()) or "not recorded"


def _digest(digest: str) -> str:
    return digest[:_DIGEST_DIGITS]


@dataclass(frozen=True)
class StageRun:
    """A stage, and its time on this machine."""

    stage: str
    """As DVC names it, such as `distill@kd-3`."""

    seconds: float | None
    """None where another machine ran it, or none has noted it."""

    @property
    def command(self) -> str:
        """The command that runs it by hand."""
        return f"decant {self.stage.replace('@', ' ')}"


class _Record(BaseModel):
    seconds: float


def read_stage_seconds(folder: Path, students: Sequence[str]) -> tuple[StageRun, ...]:
    """Return the stages before the report, in the order of the pipeline."""
    return tuple(StageRun(stage, _read(folder / f"{stage}.json")) for stage in _stages(students))


def _stages(students: Sequence[str]) -> Iterator[str]:
    yield from _OF_THE_TEACHER
    for student in students:
        yield from (f"{stage}@{student}" for stage in _OF_A_STUDENT)


def _read(path: Path) -> float | None:
    try:
        return _Record.model_validate_json(path.read_bytes()).seconds
    except (FileNotFoundError, ValidationError):
        return None  # a time is for information; no report is refused for one
