"""A student that is killed, at any step, goes on where it was and ends as if nothing had been."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.core.errors import TrainingError
from pipeline.core.fingerprint import digest_folder
from pipeline.train.resume import ResumableTraining

N_STEPS = 40
N_KILLS = 10


class Trainings:
    """The program of `resumable_training`."""

    def __init__(self, program: "subprocess.Popen[str]", stderr: Path) -> None:
        self.program = program
        self.stderr = stderr

    def run(
        self, folder: Path, kill_at: int | None = None, seconds: float = 0.0, **training: Any
    ) -> int:
        """Train in a process of its own; return the signal that ended it, 0 when it finished."""
        job = {"folder": str(folder), "kill_at": kill_at, "seconds": seconds, "training": training}
        assert self.program.stdin is not None and self.program.stdout is not None
        self.program.stdin.write(json.dumps(job) + "\n")
        self.program.stdin.flush()
        answer = self.program.stdout.readline()
        assert answer, self.stderr.read_text()
        return int(answer)


@pytest.fixture(scope="module")
def trainings(
    tmp_path_factory: pytest.TempPathFactory, even_store: Path, even_tokens_dir: Path
) -> Iterator[Trainings]:
    folder = tmp_path_factory.mktemp("trainings")
    command = [sys.executable, "-m", "tests.train.resumable_training"]
    with (
        (folder / "stderr").open("w") as stderr,
        subprocess.Popen(
            [*command, str(even_store), str(even_tokens_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
        ) as program,
    ):
        yield Trainings(program, folder / "stderr")
        program.kill()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, trainings: Trainings) -> Path:
    """The student of a training without interruption; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "student"
    assert trainings.run(folder) == 0
    return folder


def test_a_killed_training_ends_with_the_same_bits(
    tmp_path: Path, trainings: Trainings, whole: Path
) -> None:
    """Catches a moment of AdamW, a random number, a batch, a best score or a point of the curves
    that a resumed training has lost or has twice.

    Dropout is on. What is saved lies up to some steps back, so steps are also made again.
    """
    folder, kept = tmp_path / "student", ResumableTraining(tmp_path / "unfinished", {})
    steps = sorted(random.Random(0).sample(range(1, N_STEPS), N_KILLS))
    resumed_at = []
    for number, step in enumerate(steps):
        seconds = 0.0 if number % 2 else 0.05
        assert trainings.run(folder, kill_at=step, seconds=seconds) == signal.SIGKILL
        assert not folder.exists()
        state = torch.load(kept.folder / "state.pt", weights_only=True)["state"] if number else {}
        resumed_at.append(state["learner"]["step"] if state else 0)
    assert 0 < resumed_at[-1] < N_STEPS
    assert trainings.run(folder) == 0
    ours, theirs = (load_file(path / "model.safetensors") for path in (folder, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert digest_folder(folder) == digest_folder(whole)  # curves and scores too
    assert not kept.folder.exists()


def test_a_resumed_training_does_not_begin_anew(tmp_path: Path, trainings: Trainings) -> None:
    """Catches a state that is written and never read: the student would be the same."""
    folder = tmp_path / "student"
    assert trainings.run(folder, kill_at=20) == signal.SIGKILL
    assert trainings.run(folder, kill_at=5) == 0, "step 5 is not made again"


def test_other_settings_do_not_resume(tmp_path: Path, trainings: Trainings, whole: Path) -> None:
    """Catches a student that carries weights of the settings before."""
    folder = tmp_path / "student"
    assert trainings.run(folder, kill_at=20, learning_rate=0.01) == signal.SIGKILL
    assert trainings.run(folder) == 0
    assert digest_folder(folder) == digest_folder(whole)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    """Catches a traceback of pickle, or hours of training that are silently begun anew."""
    kept = ResumableTraining(tmp_path / "unfinished", {"settings": "a"})
    assert kept.load() is None
    kept.save({"step": 3})
    assert kept.load() == {"step": 3}
    assert ResumableTraining(kept.folder, {"settings": "b"}).load() is None
    path = kept.folder / "state.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TrainingError, match=f"Delete {kept.folder} to train from the start"):
        kept.load()
