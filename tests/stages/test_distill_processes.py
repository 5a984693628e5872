"""`distill` in several processes of this machine, as `runtime.processes` starts them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from transformers import AutoModelForSequenceClassification

from pipeline.core.fingerprint import digest_folder
from tests.forking import commands
from tests.small_project import PARAMS, change, write_params
from tests.stages.conftest import invoke


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Result]:
    """Distill kd-2; the processes are started at once."""
    monkeypatch.setattr(sys, "executable", str(commands() / "python"))
    return lambda: invoke("distill", "kd-2")


def test_two_processes_make_one_student(
    project: Path, distill: Callable[[], Result], capfd: pytest.CaptureFixture[str]
) -> None:
    """Catches processes that each write the student, or a second start that trains again."""
    params = change(PARAMS, "training.seed", 5)
    write_params(project, change(params, "runtime", {"processes": 2}))
    before = digest_folder(project / "artifacts" / "students" / "kd-2")
    done = distill()
    printed = capfd.readouterr()
    assert done.exit_code == 0, printed.err
    assert printed.out.count("distill: kd-2: validation accuracy") == 1
    after = digest_folder(project / "artifacts" / "students" / "kd-2")
    assert after != before
    AutoModelForSequenceClassification.from_pretrained(project / "artifacts/students/kd-2")
    assert not (project / "artifacts" / "unfinished" / "kd-2").exists()
    assert (project / "reports/curves/kd-2/train/loss.tsv").is_file()
    assert "kept as it is" in distill().stdout + capfd.readouterr().out
    forced = invoke("distill", "kd-2", "--force")
    printed = capfd.readouterr().out
    assert forced.exit_code == 0 and "kept as it is" not in forced.stdout + printed
    assert printed.count("distill: kd-2: validation accuracy") == 1


def test_a_failure_of_all_is_one_line(
    project: Path, distill: Callable[[], Result], capfd: pytest.CaptureFixture[str]
) -> None:
    """Catches a traceback from each process, or one that waits for the others for ever."""
    params = change(PARAMS, "training.learning_rate", 1e30)
    write_params(project, change(params, "runtime", {"processes": 2}))
    assert distill().exit_code == 1
    printed = capfd.readouterr().err
    assert "Traceback" not in printed
    lines = [line for line in printed.splitlines() if line.startswith("distill: ")]
    assert lines and all("the loss is nan" in line for line in lines), printed
