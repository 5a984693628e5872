"""Captures in processes that can be killed: a program that forks one for each line it reads.

The libraries are imported once, so that a capture takes as long as its work. Run as
`python -m tests.teacher.killable_capture CHECKPOINT TOKENS`; a line is a JSON object with
`store`, `layers`, `segment_rows`, `log` (a file that gets the key of every row the teacher
sees; beside it comes what a whole capture took, in renames and CPU seconds) and `kill_at` (the
number of the rename before which the process kills itself, or null).
Answers are the process id, and then the signal that ended it (0: none).
"""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  # as pyarrow would in each of them
import torch
import transformers.models.bert.modeling_bert  # noqa: F401  # as the teacher's loading would

from pipeline.core.processes import Processes
from pipeline.tasks import TASKS
from pipeline.teacher.capture import capture
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.extract import Extracted, Extractor
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import open_tokens

OPERATIONS = ("rename", "replace")
"""What makes files visible under their names: between two of them nothing does."""


def run(checkpoint: Path, tokens_dir: Path, job: dict[str, Any]) -> int:
    """Capture as the job says; return how many renames that took."""
    compute = Extractor.__call__
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(self: Extractor, rows: list[TokenRow]) -> Extracted:
        keys = [row.key().hex() for row in rows]
        os.write(log, "".join(f"{key}\n" for key in keys).encode())
        return compute(self, rows)

    Extractor.__call__ = noted  # type: ignore[method-assign]
    n_operations = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal n_operations
            if n_operations == job["kill_at"]:
                os.kill(os.getpid(), signal.SIGKILL)
            n_operations += 1
            return operation(*args, **options)

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    signals = {"attentions": {"layers": tuple(job["layers"])}}
    capture(
        checkpoint,
        open_tokens(tokens_dir),
        TASKS["classification"],
        CaptureSettings.model_validate({"segment_rows": job["segment_rows"], "signals": signals}),
        Path(job["store"]),
        device=torch.device("cpu"),
        batch_tokens=64,
        processes=Processes(),
    )
    return n_operations


def main(checkpoint: Path, tokens_dir: Path) -> None:
    """Serve the lines of standard input."""
    os.fsync = os.fstat  # type: ignore[assignment]  # a kill loses nothing that was written
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            torch.set_num_threads(1)
            n_operations = run(checkpoint, tokens_dir, job)
            Path(job["log"] + ".cost").write_text(f"{n_operations} {time.process_time()}")
            os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
