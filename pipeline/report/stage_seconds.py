"""How long the stages took that made what the report shows, as far as it is known here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

_OF_THE_TEACHER = ("prepare", "augment", "finetune", "generate", "capture")
_OF_A_STUDENT = ("distill", "evaluate")


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
