"""A student's epoch fed from the store against the same epoch fed from tensors in memory.

Both train the same student with the same batches, in turn, several times in this process.
In memory (on CUDA: on the device) lie whole batches, padded and ready, so that nothing is
left to do but training. Waiting is what the loop spends on getting its next batch.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.made_training import (
    SHAPES,
    make_learner,
    make_split_and_store,
    models_of,
    objectives_of,
    short_lengths,
)
from pipeline.models.inputs import Inputs
from pipeline.store.reader import open_store
from pipeline.train.batches import Batch, JoinedSplit
from pipeline.train.loop import train
from pipeline.train.order import EpochOrder
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import TrainingSettings

Cut = Callable[[NDArray[np.int64]], list[NDArray[np.int64]]]


class WaitedSplit(JoinedSplit):
    """A split that notes how long the loop waits for its batches."""

    waited_seconds = 0.0

    def stream(
        self, order: EpochOrder, cut: Cut, *, first_batch: int = 0, is_pinned: bool = False
    ) -> Iterator[tuple[Batch, bool]]:
        """Yield the store's batches."""
        batches = super().stream(order, cut, first_batch=first_batch, is_pinned=is_pinned)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited_seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch


class SplitInMemory(JoinedSplit):
    """A split whose batches lie ready on the device."""

    ready: list[Batch]

    def stream(
        self, order: EpochOrder, cut: Cut, *, first_batch: int = 0, is_pinned: bool = False
    ) -> Iterator[tuple[Batch, bool]]:
        """Yield them."""
        yield from ((batch, True) for batch in self.ready)


@click.command()
@click.option("--shape", type=click.Choice(list(SHAPES)), default="bundled")
@click.option("--rows", "n_rows", default=1024, show_default=True)
@click.option("--length", type=int, help="Tokens of every row, instead of sentences' lengths.")
@click.option("--batch-size", default=32, show_default=True)
@click.option("--repeats", default=5, show_default=True)
def main(shape: str, n_rows: int, length: int | None, batch_size: int, repeats: int) -> None:
    """Print seconds of an epoch either way, their ratio, and the share of waiting."""
    teacher = SHAPES[shape]
    lengths = short_lengths(n_rows) if length is None else np.full(n_rows, length)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    accelerator = make_accelerator(device)
    settings = TrainingSettings(batch_size=batch_size, epochs=1)
    needs = objectives_of(teacher).needs(models_of(teacher))
    with tempfile.TemporaryDirectory() as scratch:
        split = make_split_and_store(Path(scratch) / "store", teacher, lengths, 512)
        store = open_store(Path(scratch) / "store")
        stored = WaitedSplit(split, store, needs, Inputs(0, has_token_types=True))
        in_memory = SplitInMemory(split, store, needs, Inputs(0, has_token_types=True))
        batches = stored.order(settings, 0).batches
        in_memory.ready = [stored.read(rows).to(device) for rows in batches]
        seconds: dict[str, list[float]] = {"store": [], "memory": []}
        shares = []
        for repeat in range(repeats + 1):
            for name, rows in (("memory", in_memory), ("store", stored)):
                learner = make_learner(teacher, n_rows, settings, accelerator)
                stored.waited_seconds = 0.0
                start = time.perf_counter()
                for _ in train(learner, needs, rows, settings, accelerator):
                    pass
                taken = time.perf_counter() - start
                if repeat:  # the first of each is for warming up
                    seconds[name].append(taken)
                    shares += [stored.waited_seconds / taken] if rows is stored else []
    ratios = [m / s for m, s in zip(seconds["memory"], seconds["store"], strict=True)]
    kind = "BERT-base width" if shape == "base" else "MiniLM-L6-H384 width"
    click.echo(
        f"{kind}, 3 layers, {device}, {n_rows} rows of {lengths.mean():.0f} tokens, batches of "
        f"{batch_size}, {torch.get_num_threads()} threads, {repeats} epochs each\n"
    )
    click.echo("| from memory, s | from the store, s | speed (median of pairs) | waiting |")
    click.echo("|---|---|---|---|")
    click.echo(
        f"| {statistics.median(seconds['memory']):.2f} | {statistics.median(seconds['store']):.2f} "
        f"| {statistics.median(ratios):.3f} | {statistics.median(shares):.1%} |"
    )


if __name__ == "__main__":
    main()
