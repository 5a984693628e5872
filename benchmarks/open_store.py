"""What it costs to open a store, by its number of rows: time and memory.

Writes stores of made-up values into the folder for temporary files, with the files of a
real store (8,192 rows in a segment; logits, [CLS] and attention layers of one-token rows),
and opens each in a process of its own. Times are CPU times, as others may use the machine.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks.made_store import markdown, write_made_store
from pipeline.core.fingerprint import KEY_BYTES
from pipeline.models.architecture import Architecture
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array, Arrays
from pipeline.store.reader import open_store

TEACHER = Architecture(
    model_type="bert", n_layers=6, n_heads=1, hidden_size=4, n_labels=2, head_reads="first"
)
SEGMENT_ROWS = 8192


@click.command()
@click.option("--rows", type=int, multiple=True, default=(10_000, 100_000, 1_000_000))
@click.option("--layers", "n_layers", type=int, default=6, help="Attention layers, at most 6.")
def main(rows: tuple[int, ...], n_layers: int) -> None:
    """Print times and growth of memory by number of rows."""
    maps = [Array(ATTENTIONS, layer + 1) for layer in range(n_layers)]
    arrays: Arrays = dict.fromkeys([Array(LOGITS), CLS_STATES, *maps], "float16")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in rows:
            store_dir = Path(folder, str(n_rows))
            lengths = np.ones(n_rows, dtype=np.int64)
            write_made_store(store_dir, TEACHER, arrays, lengths, SEGMENT_ROWS)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                lines.append(pool.apply(measure, (store_dir,)))
    header = ["rows", "segments", "files", "open ms", "peak memory growth MB"]
    header += ["first find ms", "peak memory growth MB", "find of 32 ms"]
    click.echo(markdown(header, lines))


def measure(store_dir: Path) -> list[str]:
    """Open a store for the first time in this process; return a line of the table."""
    before = _reset_peak()
    start = time.process_time()
    store = open_store(store_dir)
    opened = time.process_time()
    after_open = _peak_bytes()
    # The first keys that `write_made_store` draws.
    wanted = np.frombuffer(np.random.default_rng(0).bytes(KEY_BYTES * 32), f"V{KEY_BYTES}")
    begin = time.process_time()
    store.find(wanted)
    found = time.process_time()
    after_find = _peak_bytes()
    store.find(wanted)
    again = time.process_time()
    return [
        f"{len(store):,}",
        f"{len(store.manifest.segments):,}",
        f"{sum(1 for _ in store.manifest.files()):,}",
        f"{1e3 * (opened - start):.0f}",
        f"{(after_open - before) / 1e6:.1f}",
        f"{1e3 * (found - begin):.0f}",
        f"{(after_find - after_open) / 1e6:.1f}",
        f"{1e3 * (again - found):.2f}",
    ]


def _reset_peak() -> int:
    """Make the peak of this process's memory what it has now, and return it (Linux only)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
