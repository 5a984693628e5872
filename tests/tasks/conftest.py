"""Token tables and teachers of every kind of task, each made once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind, Task
from pipeline.text.tokens import Tokens
from tests.tasks.small_tasks import make_teacher, make_tokens


@dataclass(frozen=True)
class Small:
    """A task with its small data and its tiny teacher."""

    task: Task
    tokens: Tokens
    teacher: Path
    folder: Path
    """Of the token table."""


MakeSmall = Callable[[Kind], Small]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> MakeSmall:
    """Return a function that gives a task's data and teacher; not to be changed."""

    @cache
    def make(kind: Kind) -> Small:
        folder = tmp_path_factory.mktemp(kind)
        teacher = make_teacher(folder / "teacher", kind)
        return Small(TASKS[kind], make_tokens(folder, kind, teacher), teacher, folder / "tokens")

    return make
