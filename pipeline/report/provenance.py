"""Where the report's numbers come from, as pairs of a name and a text, and the stages' times."""

from collections.abc import Iterator, Mapping, Sequence
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
    students_by_text: dict[str, dict[str, list[str]]] = {}
    for student, one in by_student.items():
        for name, text in _facts(one).items():
            students_by_text.setdefault(name, {}).setdefault(text, []).append(student)
    return tuple(
        (
            name,
            "; ".join(f"{', '.join(names)}: {text}" for text, names in texts.items())
            if len(texts) > 1
            else next(iter(texts)),
        )
        for name, texts in students_by_text.items()
    )


def _facts(one: Provenance) -> dict[str, str]:
    data, teacher, store = one.data, one.teacher, one.store
    marks = {name: f" ({n:,} unlabelled)" for name, n in data["unlabelled"].items() if n}
    rows = ", ".join(f"{name} {n:,}{marks.get(name, '')}" for name, n in data["rows"].items())
    return {
        "Data": f"token table {_digest(data['digest'])}; rows: {rows}; up to "
        f"{data['max_length']:,} tokens",
        "Tokenizer": _digest(data["tokenizer"]),
        "Teacher": f"{teacher['architecture']}, {teacher['n_layers']} layers, width "
        f"{teacher['hidden_size']:,}; weights {_digest(teacher['weights'])}, config "
        f"{_digest(teacher['config'])}",
        "Store": f"identity {_digest(store['identity'])}, what is compared here "
        f"{_digest(store['digest'])}; {store['n_rows']:,} distinct rows, computed in "
        f"{store['precision']}",
        "Signals": ", ".join(
            f"{name} ({array['encoding']}, {array['size_bytes'] / 2**20:,.1f} MiB)"
            for name, array in store["arrays"].items()
        ),
        "Captured with": _versions(store["versions"]),
        "Evaluated with": _versions(one.versions),
    }


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
