"""Trainings in processes that can be killed: a program that forks one for each line it reads.

Run as `python -m tests.train.resumable_training STORE TOKENS`; a line is a JSON object with
`folder` (for the student), `kill_at` (the step after whose update the process kills itself,
or null) and `seconds` between saves. An answer is the signal that ended it (0: none).
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from pipeline.train.parallel import make_accelerator
from pipeline.train.state import TrainState
from tests.train.small_training import distill_small


def run(store_dir: Path, tokens_dir: Path, job: dict[str, Any]) -> None:
    """Train as the job says."""
    update = TrainState.update

    def killed(learner: TrainState, max_grad_norm: float) -> float:
        learning_rate = update(learner, max_grad_norm)
        if learner.step == job["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return learning_rate

    TrainState.update = killed  # type: ignore[method-assign]
    distill_small(
        store_dir,
        tokens_dir,
        Path(job["folder"]),
        make_accelerator(torch.device("cpu")),
        training=job["training"],
        seconds_between_saves=job["seconds"],
    )


def main(store_dir: Path, tokens_dir: Path) -> None:
    """Serve the lines of standard input."""
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            torch.set_num_threads(1)
            run(store_dir, tokens_dir, job)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
