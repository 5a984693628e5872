"""`distill` in several processes of this machine, as `runtime.processes` starts them."""

import subprocess
import sys
from pathlib import Path

from transformers import AutoModelForSequenceClassification

from pipeline.fingerprint import digest_folder
from tests.project import PARAMS, change, write_params


def distill(folder: Path, name: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "stages.distill", name],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_processes_make_one_student(project: Path) -> None:
    """Catches processes that each write the student, or a second start that trains again."""
    params = change(PARAMS, "training.seed", 5)
    write_params(project, change(params, "runtime", {"processes": 2}))
    before = digest_folder(project / "artifacts" / "students" / "kd-2")
    done = distill(project, "kd-2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("distill: kd-2: validation accuracy") == 1
    after = digest_folder(project / "artifacts" / "students" / "kd-2")
    assert after != before
    AutoModelForSequenceClassification.from_pretrained(project / "artifacts/students/kd-2")
    assert not (project / "artifacts" / "unfinished" / "kd-2").exists()
    assert (project / "reports/curves/kd-2/train/loss.tsv").is_file()
    assert "kept as it is" in distill(project, "kd-2").stdout


def test_a_failure_of_all_is_one_line(project: Path) -> None:
    """Catches a traceback from each process, or one that waits for the others for ever."""
    params = change(PARAMS, "training.learning_rate", 1e30)
    write_params(project, change(params, "runtime", {"processes": 2}))
    done = distill(project, "kd-2")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("distill: ")]
    assert lines and all("the loss is nan" in line for line in lines), done.stderr
