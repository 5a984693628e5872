"""The peak memory of a capture beside the number of rows.

Each capture runs in a process of its own, on the bundled checkpoint, with logits, [CLS]
and three attention layers; the figure is the process's peak resident set.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from benchmarks.synthetic import make_store, make_table
from pipeline.core.checkpoint import BUNDLED, find_weights
from pipeline.core.processes import Processes
from pipeline.models.architecture import read_architecture
from pipeline.models.inputs import Inputs
from pipeline.signals.signal import Arrays
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.teacher.capture_settings import SignalsSettings
from pipeline.teacher.compute import TokenBudget, compute
from pipeline.teacher.extract import Extractor
from pipeline.teacher.work import distinct_rows, missing_work


@click.command()
@click.option("--rows", "counts", multiple=True, type=int, default=(2_000, 20_000))
@click.option("--one", type=int, help="Capture so many rows in this process.")
def main(counts: tuple[int, ...], one: int | None) -> None:
    """Print a table of peak memory by number of rows."""
    if one is not None:
        n_segments = _capture(one)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"| {one:,} | {n_segments} | {peak:,.0f} |")
        return
    click.echo("| rows | segments | peak MiB |\n|---|---|---|")
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.capture_memory", "--one", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        click.echo(done.stdout.strip().splitlines()[-1])


def _capture(n_rows: int) -> int:
    """Capture rows of 4 to 30 tokens; return the number of segments."""
    folder = find_weights(BUNDLED)
    teacher = read_architecture(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    signals = SignalsSettings.model_validate({"attentions": {"layers": (2, 4, 6)}})
    arrays = signals.arrays(CLASSIFICATION)
    tokens = make_table(np.random.default_rng(0).integers(4, 31, n_rows), teacher)
    rows = distinct_rows(tokens)

    def prepare(wanted: Arrays) -> Extractor:
        return Extractor(
            model, wanted, "float32", torch.device("cpu"), Inputs(0, has_token_types=True)
        )

    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "store"
        writer = make_store(store, teacher, arrays, rows.lengths)
        works = list(missing_work(store, writer.manifest, rows, arrays))
        compute(writer, works, rows, tokens, prepare, TokenBudget(4096), Processes())
    return len(works)


if __name__ == "__main__":
    main()
