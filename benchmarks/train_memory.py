"""Peak memory of a training on stores of two sizes, tenfold apart.

Each runs in a process of its own: a small student of three layers with twelve heads learns
for one epoch. What a process maps of a store counts as resident for as long as the system
has no other use for the memory, so it is told apart: `own` is what only this process has
(RssAnon), `mapped` what it shares with the files (RssFile), libraries included.

The peak is that of the largest batch, so both trainings must have the same one: rows are cut
at a length that many of them have. Rows of similar length are put together, and of uncut ones
only a larger store has enough of the longest to fill a batch.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np

from benchmarks.made_training import (
    make_learner,
    make_split_and_store,
    models_of,
    objectives_of,
    short_lengths,
)
from pipeline.models.architecture import Architecture
from pipeline.models.inputs import Inputs
from pipeline.store.reader import open_store
from pipeline.train.batches import JoinedSplit
from pipeline.train.loop import train
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import TrainingSettings

_SMALL = Architecture(
    model_type="bert", n_layers=6, n_heads=12, hidden_size=96, n_labels=2, head_reads="first"
)
_LONGEST = 48
"""Tokens. 78 of 1,000 rows are cut, which is more than two batches."""
_FIELDS = ("RssAnon", "RssFile")


@click.command()
@click.option("--rows", "counts", multiple=True, type=int, default=(1_000, 10_000))
@click.option("--one", type=(int, str), help="Train on so many rows, shuffled so, here.")
def main(counts: tuple[int, ...], one: tuple[int, str] | None) -> None:
    """Print a table of peak memory by number of rows and kind of shuffling."""
    if one is not None:
        click.echo(_train(*one))
        return
    click.echo("| rows | store, MiB | shuffle | own, MiB | mapped, MiB |\n|---|---|---|---|---|")
    for count in counts:
        for shuffle in ("global", "block"):
            module = [sys.executable, "-m", "benchmarks.train_memory"]
            done = subprocess.run(
                [*module, "--one", str(count), shuffle],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            click.echo(done.stdout.strip().splitlines()[-1])


def _train(n_rows: int, shuffle: str) -> str:
    """Train for one epoch; return the line of the table."""
    import torch

    accelerator = make_accelerator(torch.device("cpu"))
    settings = TrainingSettings.model_validate(
        {"epochs": 1, "shuffle": shuffle, "shuffle_buffer_mib": 64}
    )
    with tempfile.TemporaryDirectory() as scratch:
        store_dir = Path(scratch) / "store"
        # Elsewhere, as what writing leaves behind in a process would count as its training's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
            lengths = np.minimum(short_lengths(n_rows), _LONGEST)
            split = writer.submit(make_split_and_store, store_dir, _SMALL, lengths, 512).result()
        store = open_store(store_dir)
        size = sum(record.size_bytes for _, record in store.manifest.files())
        needs = objectives_of(_SMALL).needs(models_of(_SMALL))
        rows = JoinedSplit(split, store, needs, Inputs(0, has_token_types=True))
        learner = make_learner(_SMALL, n_rows, settings, accelerator)
        with _peaks() as peaks:
            for _ in train(learner, needs, rows, settings, accelerator):
                pass
    own, mapped = (f"{peaks[name] / 1024:,.0f}" for name in _FIELDS)
    return f"| {n_rows:,} | {size / 2**20:,.0f} | {shuffle} | {own} | {mapped} |"


@contextmanager
def _peaks() -> Iterator[dict[str, int]]:
    """Give the largest value (KiB) of each field, looked at 50 times a second meanwhile."""
    peaks = dict.fromkeys(_FIELDS, 0)
    has_ended = threading.Event()

    def watch() -> None:
        while not has_ended.wait(0.02):
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            for name, value in (line.split(":", 1) for line in lines):
                if name in peaks:
                    peaks[name] = max(peaks[name], int(value.split()[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        has_ended.set()
        watcher.join()


if __name__ == "__main__":
    main()
