"""Random batches from a store, all signals, against a copy of the same bytes in memory.

Writes two stores of made-up values into the folder for temporary files: one in the shape
of the teacher (logits, [CLS] of all layers, attention of every second as float16) with rows
of 128 tokens, and one with rows of 25 tokens on average. The copy is from anywhere in a piece of
memory as large as the store to one buffer, both written before. Both take turns in one run,
the files are in the page cache, and times are CPU times, as others may use the machine.
"""

import statistics
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks.made_store import markdown, write_made_store
from benchmarks.made_training import SHAPES
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array, Arrays, Encoding
from pipeline.store.reader import TeacherStore, open_store

ENCODING: Encoding = "float16"
BATCH_ROWS = 32
EPOCHS = 3


@click.command()
@click.option("--shape", type=click.Choice(list(SHAPES)), default="base", show_default=True)
@click.option("--rows", "n_rows", type=int, default=512, show_default=True)
def main(shape: str, n_rows: int) -> None:
    """Print median times and their ratio."""
    teacher = SHAPES[shape]
    layers = range(2, teacher.n_layers + 1, 2)
    arrays = dict.fromkeys(
        (Array(LOGITS), CLS_STATES, *(Array(ATTENTIONS, n) for n in layers)), ENCODING
    )
    generator = np.random.default_rng(0)
    short = np.clip(generator.geometric(1 / 20, n_rows) + 5, 6, 128)
    stores = {"length 128": np.full(n_rows, 128), "mean length 25": short}
    lines = []
    for name, lengths in stores.items():
        with tempfile.TemporaryDirectory() as folder:
            store_dir = Path(folder, "store")
            write_made_store(store_dir, teacher, arrays, lengths, segment_rows=256)
            lines += measure(f"{name} (mean {lengths.mean():.1f})", open_store(store_dir), arrays)
    header = ["rows of", "epoch", "MB per batch", "store ms", "copy ms", "copy / store"]
    click.echo(markdown(header, lines))


def measure(name: str, store: TeacherStore, arrays: Arrays) -> list[list[str]]:
    """Read every row in random batches, several times; return a line for each epoch."""
    generator = np.random.default_rng(1)
    # As large as the store, so that its bytes are no more in the processor's cache than those.
    memory = np.ones(sum(record.size_bytes for _, record in store.manifest.files()), np.uint8)
    target = np.ones(len(memory) // 4, np.uint8)
    lines = []
    for epoch in range(EPOCHS):
        order = generator.permutation(len(store))
        batches = [order[first : first + BATCH_ROWS] for first in range(0, len(order), BATCH_ROWS)]
        reads, copies, sizes = [], [], []
        for rows in batches:
            start = time.process_time()
            read = [signal.values for signal in store.read_many(arrays, rows).values()]
            reads.append(time.process_time() - start)
            size_bytes = sum(values.nbytes for values in read)
            del read
            first = int(generator.integers(len(memory) - size_bytes))
            start = time.process_time()
            np.copyto(target[:size_bytes], memory[first : first + size_bytes])
            copies.append(time.process_time() - start)
            sizes.append(size_bytes)
        store_ms, copy_ms = (1e3 * statistics.median(part) for part in (reads, copies))
        lines.append(
            [
                name,
                f"{epoch + 1}",
                f"{statistics.mean(sizes) / 1e6:.1f}",
                f"{store_ms:.2f}",
                f"{copy_ms:.2f}",
                f"{copy_ms / store_ms:.2f}",
            ]
        )
    return lines


if __name__ == "__main__":
    main()
