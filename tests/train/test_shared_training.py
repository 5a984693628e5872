"""A student that two processes train together is the one that a single process trains."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from pipeline.train.curves import CURVES_NAME
from tests.forking import commands
from tests.imports import ROOT
from tests.train.small_training import STUDENT


def train(folder: Path, store: Path, tokens: Path, n_processes: int) -> Path:
    """Train in so many processes; return the student's folder."""
    launcher = ["torch.distributed.run", "--nproc-per-node", str(n_processes), "--standalone", "-m"]
    done = subprocess.run(
        [
            *(sys.executable if n_processes > 1 else str(commands() / "python"), "-m"),
            *(launcher if n_processes > 1 else []),
            *("tests.train.shared_training", str(store), str(tokens), str(folder)),
        ],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHON_EXEC": str(commands() / "python"),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def curve(folder: Path, name: str) -> NDArray[np.float64]:
    """Return steps and values (point, 2) of a curve."""
    path = folder / CURVES_NAME / f"{name}.tsv"
    return np.loadtxt(path, skiprows=1, ndmin=2)


def test_two_processes_train_as_one(
    even_store: Path, even_tokens_dir: Path, tmp_path: Path
) -> None:
    """Catches shares that count equally whatever their size, gradients that are averaged, rows
    that two processes see, and a process that stops because a batch has no row for it.
    """
    alone, together = (
        train(tmp_path / str(count) / "student", even_store, even_tokens_dir, count)
        for count in (1, 2)
    )
    losses = curve(alone, "train/loss")
    assert len(losses) == 20 and losses[-1, 1] < 0.9 * losses[0, 1]
    for name in ("loss", *STUDENT["objectives"]):  # the terms are parts of the loss
        ours, theirs = curve(together, f"train/{name}"), curve(alone, f"train/{name}")
        assert (ours[:, 0] == theirs[:, 0]).all()
        assert (np.abs(ours[:, 1] - theirs[:, 1]) < 1e-4 * losses[:, 1]).all(), name
    for name in ("accuracy", "macro_f1"):
        ours, theirs = (curve(folder, f"validation/{name}") for folder in (together, alone))
        assert len(theirs) == 20
        np.testing.assert_array_equal(ours, theirs)
    one, two = (load_file(folder / "model.safetensors") for folder in (alone, together))
    for name, values in one.items():
        # AdamW makes a step of 1e-3 of any gradient, however small its difference from zero.
        assert (two[name] - values).abs().max() < 1e-3, name
    assert not (tmp_path / "2" / "unfinished").exists()
