"""CONTRIBUTING.md's examples, written into a copy of the project and used as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.objectives.objective import LossInputs, StudentOutputs, TeacherSignals
from tests.imports import PACKAGES, ROOT
from tests.objectives.cases import counts_of
from tests.tasks.small_tasks import make_teacher

FILES = (
    "pipeline/objectives/correlation.py",
    "pipeline/student/averaging.py",
    "pipeline/tasks/proportion.py",
    "pipeline/metrics/balanced_accuracy.py",
    "pipeline/signals/mean_state.py",
)
TABLES = (
    "pipeline/objectives/settings.py",
    "pipeline/student/network_settings.py",
    "pipeline/tasks/__init__.py",
    "pipeline/train/card_wording.py",
    "pipeline/report/wording.py",
    "pipeline/metrics/__init__.py",
    "pipeline/signals/__init__.py",
    "pipeline/store/FORMAT.md",
)
MOST_FILES = {
    "a signal": 5,
    "a kind of task": 6,
    "a metric": 2,
    "an objective": 2,
    "a student": 2,
}
"""That whoever adds one touches, by the heading in CONTRIBUTING.md; tests come besides."""


def block_of(path: str, kind: str) -> str:
    """Return the block that follows a file's name in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"`{path}`:\n\n```{kind}\n(.*?)```\n", text, re.S)
    return str(block)


def patched(text: str, diff: str) -> str:
    """Return a text with the added lines of a diff, each behind the line it follows there."""
    lines, place = text.splitlines(), 0
    for line in diff.splitlines():
        if line.startswith("+"):
            lines.insert(place, line[1:])
            place += 1
        else:
            place = lines.index(line[1:], place) + 1
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def contributed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with both examples in it; not to be changed."""
    folder = tmp_path_factory.mktemp("contributed") / "project"
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    for path in FILES:
        assert not (folder / path).exists()
        (folder / path).write_text(block_of(path, "python"), encoding="utf-8")
    for path in TABLES:
        table = folder / path
        new = patched(table.read_text(encoding="utf-8"), block_of(path, "diff"))
        table.write_text(new, encoding="utf-8")
    return folder


def run(*command: str, **environment: str) -> str:
    """Return what a command prints; it must end well."""
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_objective_and_a_new_student_are_two_files_and_their_lines(
    contributed: Path, even_store: Path, even_tokens_dir: Path, tmp_path: Path
) -> None:
    """Catches an example that the code has left behind, or a third place that knows all names."""
    printed = run(
        sys.executable,
        "-Werror",
        "-P",  # beside the program lie tests/stages
        str(ROOT / "tests" / "contributed.py"),
        str(ROOT / "params.yaml"),
        str(even_store),
        str(even_tokens_dir),
        str(tmp_path / "student"),
        PYTHONPATH=str(contributed),
    )
    assert printed.splitlines()[0] == str(contributed / "pipeline" / "__init__.py")
    # Where Decant is not installed, the student brings its code along.
    source = (contributed / "pipeline" / "student" / "averaging.py").read_bytes()
    assert (tmp_path / "student" / "averaging.py").read_bytes() == source


def test_a_new_kind_of_task_and_a_new_metric_are_their_files_and_lines(
    contributed: Path, tmp_path: Path
) -> None:
    """Catches a place that knows all kinds or metrics and that the examples do not name."""
    printed = run(
        sys.executable,
        "-P",
        str(ROOT / "tests" / "contributed_task.py"),
        str(ROOT / "params.yaml"),
        str(make_teacher(tmp_path / "base", "regression")),
        str(tmp_path),
        PYTHONPATH=str(contributed),
    )
    first, second, *_ = printed.splitlines()
    assert first == str(contributed / "pipeline" / "__init__.py")
    assert second.startswith("train: the label of row 1 is '1.5'; a proportion needs a number from")


@pytest.mark.parametrize("what", MOST_FILES)
def test_adding_one_touches_few_files(what: str) -> None:
    """Catches a further place that whoever adds one must know."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"## Adding {what}\n(.*?)(?=\n## |\Z)", text, re.S)
    edited = set(re.findall(r"^`([\w/.]+)`:$", section, re.M))
    edited |= set(re.findall(r"`(README\.md|pipeline/store/FORMAT\.md)`", section))
    assert {*FILES, *TABLES} & edited
    assert len(edited) <= MOST_FILES[what]


def test_a_new_signal_is_a_file_and_its_lines(
    contributed: Path, checkpoint: Path, even_tokens_dir: Path, tmp_path: Path
) -> None:
    """Catches one more place that knows all signals."""
    printed = run(
        sys.executable,
        "-Werror",
        "-P",
        "-m",
        "tests.contributed_signal",
        str(checkpoint),
        str(even_tokens_dir),
        str(tmp_path / "store"),
        PYTHONPATH=os.pathsep.join([str(contributed), str(ROOT)]),
    )
    assert printed.splitlines()[0] == str(contributed / "pipeline" / "__init__.py")


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")])
def test_the_examples_are_in_this_project_s_style(
    contributed: Path, arguments: tuple[str, ...]
) -> None:
    """Catches a block that `make lint` would refuse once it is a file."""
    paths = [path for path in (*FILES, *TABLES) if path.endswith(".py")]
    files = [str(contributed / path) for path in paths]
    config = str(ROOT / "pyproject.toml")
    run(sys.executable, "-m", "ruff", *arguments, "--no-cache", "--config", config, *files)


def test_the_objective_is_its_formula() -> None:
    """Catches an example that is not what its docstring says."""
    example: dict[str, Any] = {}
    exec(block_of(FILES[0], "python"), example)
    objective = example["Correlation"](temperature=2.0)
    ours, theirs = 2 * torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    masks, labels = {"token": torch.ones(6, 4, dtype=torch.bool)}, torch.zeros(6, dtype=torch.int64)

    def value(logits: Tensor) -> float:
        student, teacher = StudentOutputs(logits, masks), TeacherSignals(theirs)
        return float(objective(LossInputs(student, teacher, labels, counts_of(labels, 6))))

    probabilities = [(logits.double() / 2.0).softmax(-1).T for logits in (ours, theirs)]
    correlations = [
        torch.corrcoef(torch.stack(of_label))[0, 1] for of_label in zip(*probabilities, strict=True)
    ]
    expected = 1 - float(torch.stack(correlations).mean())
    assert abs(expected) > 0.1
    # Some ten operations on numbers up to 1, each rounded to 24 bits.
    assert value(ours) == pytest.approx(expected, abs=10 * 2**-24)
    assert value(theirs) == pytest.approx(0, abs=10 * 2**-24)
