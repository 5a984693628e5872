"""A store that is larger than the memory a process may have is read all the same."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from benchmarks.made_store import write_made_store
from benchmarks.synthetic import make_table
from pipeline.architecture import Architecture
from pipeline.objectives.objective import Needs
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.spec import Arrays, ArraySpec
from pipeline.text.tokens import TokenSplit
from pipeline.train.batches import JoinedSplit
from pipeline.train.settings import TrainingSettings

TEACHER = Architecture(
    model_type="bert", n_layers=6, n_heads=12, hidden_size=384, n_labels=2, head_reads="first"
)
N_ROWS, LENGTH, SEGMENT_ROWS = 960, 96, 20
ARRAYS: Arrays = {ArraySpec("attentions", layer): "float16" for layer in (2, 4)}
SIGNAL_BYTES = N_ROWS * len(ARRAYS) * TEACHER.n_heads * LENGTH**2 * 2
SPARE_BYTES = 96 * 2**20
Shuffle = Literal["global", "block"]


def split_of_rows() -> TokenSplit:
    return make_table(np.full(N_ROWS, LENGTH), TEACHER).splits["train"]


def read_epoch(split: TokenSplit, store: TeacherStore, shuffle: Shuffle) -> float:
    """Read every row once; return the sum over batches of what only their own rows give."""
    joined = JoinedSplit(
        split,
        store,
        Needs(teacher=frozenset(ARRAYS)),
        pad_id=0,
        has_token_types=True,
    )
    settings = TrainingSettings(batch_size=4, shuffle=shuffle, shuffle_buffer_mib=32)
    total = 0.0
    for batch in joined.stream(joined.order(settings, 0), lambda rows: [rows]):
        sums = [signal.values.double().sum() for signal in batch.signals.values()]
        total += float(sum(sums)) * float(batch.examples.sum())
    return total


def main(store_dir: Path, shuffle: Shuffle) -> None:
    """Read the store after this process was forbidden to address much more than it does."""
    store = open_store(store_dir)
    split = split_of_rows()
    read_epoch(split, store, shuffle)  # libraries load parts of theirs when these are used
    store.release()
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + SPARE_BYTES, resource.RLIM_INFINITY))
    with pytest.raises(MemoryError):
        np.empty(2 * SPARE_BYTES, np.uint8)
    print(read_epoch(split, store, shuffle))


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how much is in use")
@pytest.mark.parametrize("shuffle", ["global", "block"])
def test_signals_larger_than_the_limit_are_read(tmp_path: Path, shuffle: Shuffle) -> None:
    """Catches a reader that maps the whole store, keeps what it has read, or takes all there is."""
    assert SIGNAL_BYTES > 3 * SPARE_BYTES
    split = split_of_rows()
    write_made_store(
        tmp_path / "store", TEACHER, ARRAYS, np.full(N_ROWS, LENGTH), SEGMENT_ROWS, split.keys
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.test_large_store", str(tmp_path / "store"), shuffle],
        capture_output=True,
        text=True,
        timeout=300,
        # Else the allocator reserves 64 MiB of addresses for each thread.
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == read_epoch(split, open_store(tmp_path / "store"), shuffle)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])  # type: ignore[arg-type]
