"""A distillation that processes share: `-m tests.train.shared_training STORE TOKENS FOLDER`.

Dropout is off: which random numbers a row meets depends on the process that computes it.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from pipeline.core.processes import joined_processes
from pipeline.train import setup
from pipeline.train.parallel import make_accelerator
from tests.train.conftest import without_dropout
from tests.train.small_training import distill_small

# 60 rows: the second batch of an epoch has a single one.
TRAINING: dict[str, Any] = {"batch_size": 59, "micro_batch_size": 20, "epochs": 10}


def main(store_dir: Path, tokens_dir: Path, folder: Path) -> None:
    """Train in this process and those started with it."""
    build = setup.build_student
    setup.build_student = lambda *args, say: without_dropout(build(*args, say=say))
    with joined_processes():
        accelerator = make_accelerator(torch.device("cpu"))
        distill_small(store_dir, tokens_dir, folder, accelerator, training=TRAINING)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
