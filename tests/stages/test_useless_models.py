"""What `finetune` and `distill` say: of a model that has learned nothing, and how."""

import json
import re
from pathlib import Path

import pytest
from click.testing import Result

from pipeline.metrics.scores import Validated
from tests.small_project import PARAMS, change, write_params
from tests.stages.conftest import invoke

# At the first rate no weight moves, and the random base is no better than chance.
NOTHING, ENOUGH = 1e-9, 1e-2


def warnings(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line for line in result.stderr.splitlines() if "warning:" in line]


def test_a_useless_teacher(project: Path) -> None:
    """Catches a teacher that has learned nothing, of which no stage says a word, and silence where
    the stage has nothing to do."""
    write_params(project, change(PARAMS, "teacher.learning_rate", NOTHING))
    first, again = invoke("finetune"), invoke("finetune")
    assert "kept as it is" in again.stdout and "kept as it is" not in first.stdout
    expected = (
        "finetune: warning: the teacher is no better on validation than always giving the label "
        "'negative': its accuracy, 43.3%, is not above 50.0%. Students will learn little from it. "
        "Raise teacher.epochs, try another teacher.learning_rate, or label more rows."
    )
    for result in (first, again):
        assert warnings(result) == [expected]
    found = Validated.from_json(json.loads(Path("reports/teacher.json").read_text("utf-8")))
    assert found.baseline is not None and not found.baseline.is_beaten


def test_a_useless_checkpoint(project: Path) -> None:
    """Catches advice to train more where nothing is trained."""
    write_params(project, change(PARAMS, "teacher", {"checkpoint": "base", "epochs": 0}))
    (line,) = warnings(invoke("finetune"))
    assert "Check that the checkpoint was fine-tuned for this task" in line
    assert "Raise" not in line


def test_a_useful_teacher(project: Path) -> None:
    """Catches a warning at a teacher that has learned its task."""
    params = change(PARAMS, "teacher.learning_rate", ENOUGH)
    write_params(project, change(params, "teacher.epochs", 8))
    assert warnings(invoke("finetune")) == []
    found = Validated.from_json(json.loads(Path("reports/teacher.json").read_text("utf-8")))
    assert found.baseline is not None and found.baseline.is_beaten


@pytest.mark.parametrize("learning_rate", [NOTHING, ENOUGH])
def test_students(project: Path, learning_rate: float) -> None:
    """Catches a student that has learned nothing and is not called so, or one that has and is."""
    params = change(PARAMS, "training.learning_rate", learning_rate)
    write_params(project, change(params, "training.epochs", 8))
    first, again = invoke("distill", "hard-2"), invoke("distill", "hard-2")
    assert "kept as it is" in again.stdout and "kept as it is" not in first.stdout
    assert warnings(first) == warnings(again)
    if learning_rate == ENOUGH:
        assert warnings(first) == []
    else:
        (line,) = warnings(first)
        assert line.startswith("distill: hard-2: warning: the student ")
        assert line.endswith(
            "Raise training.epochs, try another training.learning_rate, or add texts to learn from."
        )


def test_the_log_off_a_terminal(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Catches a log file of progress bars, dictionaries and control codes."""
    write_params(project, change(PARAMS, "teacher.seed", 1))
    result = invoke("finetune")
    lines = (result.stdout + result.stderr + capfd.readouterr().err).splitlines()
    assert any("step 3 of 3: validation accuracy" in line for line in lines)
    assert [line for line in lines if not line.startswith("finetune: ")] == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", result.output)
