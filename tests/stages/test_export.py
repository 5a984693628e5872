"""The stage export@NAME, and the README's way to run what it leaves."""

import json
from pathlib import Path

import pytest

from tests.small_project import PARAMS, change, write_params
from tests.stages.conftest import invoke
from tests.stages.test_readme import run_block


def test_a_student_is_exported_once_and_runs_as_the_readme_says(project: Path) -> None:
    """Catches a stage that repeats its work, or instructions that do not work."""
    write_params(project, change(PARAMS, "export.students", ["kd-2"]))
    first = invoke("export", "kd-2")
    assert first.exit_code == 0, first.output
    assert "export: kd-2: model.onnx " in first.output
    written = (project / "reports" / "exports" / "kd-2.json").read_bytes()
    metrics = json.loads(written)
    evaluated = json.loads((project / "reports" / "metrics" / "kd-2.json").read_text())
    scores = evaluated["splits"]["validation"]["student"]
    assert metrics["pytorch"]["validation"] == pytest.approx(scores)

    found = run_block("exports/kd-3")
    assert found["labels"] == ["negative", "positive"]
    assert found["logits"].shape == (2, 2)

    # Another list of students concerns none of them.
    write_params(project, change(PARAMS, "export.students", ["hard-2", "kd-2"]))
    again = invoke("export", "kd-2")
    assert "kd-2 was exported from exactly these inputs; kept as it is" in again.output
    assert (project / "reports" / "exports" / "kd-2.json").read_bytes() == written


def test_a_student_that_is_not_trained_is_refused(project: Path) -> None:
    """Catches a traceback about a file that the user has never heard of."""
    refused = invoke("export", "kd-9")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines() == [
        "export: artifacts/students/kd-9 is not a finished student. Run 'dvc repro distill@kd-9'."
    ]
