"""A store that is larger than the memory a process may have is read, and learned from."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from benchmarks.made_store import write_made_store
from benchmarks.synthetic import make_table
from pipeline.core.settings import parse_section
from pipeline.models.architecture import Architecture
from pipeline.models.inputs import Inputs
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.objectives.needs import Needs
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.models import Models, StudentShape
from pipeline.signals.signal import Array, Arrays
from pipeline.store.reader import TeacherStore, open_store
from pipeline.text.tokens import TokenSplit
from pipeline.train.batches import JoinedSplit
from pipeline.train.loop import train
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import TrainingSettings
from pipeline.train.state import TrainState

TEACHER = Architecture(
    model_type="bert", n_layers=6, n_heads=12, hidden_size=384, n_labels=2, head_reads="first"
)
N_ROWS, LENGTH, SEGMENT_ROWS = 960, 96, 20
ARRAYS: Arrays = {Array(ATTENTIONS, layer): "float16" for layer in (2, 4)}
SIGNAL_BYTES = N_ROWS * len(ARRAYS) * TEACHER.n_heads * LENGTH**2 * 2
SPARE_BYTES = 96 * 2**20
Shuffle = Literal["global", "block"]
N_LAYERS, HIDDEN_SIZE = 2, 8
OBJECTIVES: dict[str, Any] = {
    "hard_label": {},
    # The maps of all of the teacher's heads are read; the student, of one head, costs little.
    "attentions": {"layer_map": [[1, 2], [2, 4]], "heads": "mean"},
}


@pytest.fixture(scope="module")
def large_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of rows that are all equally long; not to be changed."""
    folder = tmp_path_factory.mktemp("large") / "store"
    lengths = np.full(N_ROWS, LENGTH)
    write_made_store(folder, TEACHER, ARRAYS, lengths, SEGMENT_ROWS, split_of_rows().keys)
    return folder


def split_of_rows() -> TokenSplit:
    return make_table(np.full(N_ROWS, LENGTH), TEACHER).splits["train"]


def read_epoch(split: TokenSplit, store: TeacherStore, shuffle: Shuffle) -> float:
    """Read every row once; return the sum over batches of what only their own rows give."""
    joined = JoinedSplit(
        split,
        store,
        Needs(teacher=frozenset(ARRAYS)),
        Inputs(0, has_token_types=True),
    )
    settings = TrainingSettings(batch_size=4, shuffle=shuffle, shuffle_buffer_mib=32)
    total = 0.0
    for batch, _ in joined.stream(joined.order(settings, 0), lambda rows: [rows]):
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
def test_signals_larger_than_the_limit_are_read(large_store: Path, shuffle: Shuffle) -> None:
    """Catches a reader that maps the whole store, keeps what it has read, or takes all there is."""
    assert SIGNAL_BYTES > 3 * SPARE_BYTES
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.test_large_store", str(large_store), shuffle],
        capture_output=True,
        text=True,
        timeout=300,
        # Else the allocator reserves 64 MiB of addresses for each thread.
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == read_epoch(split_of_rows(), open_store(large_store), shuffle)


def own_bytes() -> int:
    """Return how much memory this process has that no file stands behind."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (own,) = (line.split()[1] for line in status if line.startswith("RssAnon:"))
    return int(own) * 2**10


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how much is in use")
def test_own_memory_does_not_grow_with_what_was_learned_from(large_store: Path) -> None:
    """Catches a loop or reader that keeps what it has read, and maps that are copied when read.

    All batches have one shape, so that every step takes the same. When the first one ends, two
    batches were read, of two thirds of the segments at most. A quarter of all there is to read
    is less than the rest, and room for what the allocator keeps: a dozen batches.
    """
    objectives = parse_section(ObjectivesSettings, OBJECTIVES, "objectives")
    models = Models(StudentShape(N_LAYERS, HIDDEN_SIZE, n_heads=1), TEACHER)
    needs = objectives.needs(models)
    assert needs.teacher == frozenset(ARRAYS)
    settings = TrainingSettings(batch_size=16, epochs=1)
    config = AutoConfig.for_model(
        "bert",
        num_hidden_layers=N_LAYERS,
        num_attention_heads=1,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=HIDDEN_SIZE,
        num_labels=TEACHER.n_labels,
    )
    student = AutoModelForSequenceClassification.from_config(config)
    assert 2 * settings.batch_size <= 2 * (N_ROWS // SEGMENT_ROWS) // 3
    accelerator = make_accelerator(torch.device("cpu"))
    objective = WeightedSum(objectives, models)
    rows = JoinedSplit(
        split_of_rows(), open_store(large_store), needs, Inputs(0, has_token_types=True)
    )
    n_steps = rows.count_batches(settings)
    learner = TrainState(student, objective, settings, n_steps, accelerator.device)
    own = [own_bytes() for _ in train(learner, needs, rows, settings, accelerator)]
    assert len(own) == n_steps
    assert max(own) - own[0] < SIGNAL_BYTES // 4


if __name__ == "__main__":
    main(Path(sys.argv[1]), "block" if sys.argv[2] == "block" else "global")
