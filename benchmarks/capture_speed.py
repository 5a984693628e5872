"""How much the capture costs beside the teacher's bare forward of the same batches.

Both run in turn in this process, several times; the ratio is that of the medians. The
capture is the real one: it encodes, takes padding away, writes, syncs and commits. Rows
are random token ids: what a transformer costs does not depend on them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from benchmarks.synthetic import make_store, make_table, plain_inputs
from pipeline.core.checkpoint import BUNDLED, find_weights
from pipeline.core.processes import Processes
from pipeline.models.architecture import Architecture, read_architecture
from pipeline.models.inputs import Inputs
from pipeline.signals.signal import Arrays
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.teacher.begun_store import Precision
from pipeline.teacher.capture_settings import SignalsSettings
from pipeline.teacher.compute import TokenBudget, compute
from pipeline.teacher.extract import Extractor
from pipeline.teacher.work import batches_by_length, distinct_rows, missing_work

_SIGNALS: dict[str, dict[str, Any]] = {
    "logits + [CLS] of all layers": {},
    "logits + [CLS] + attention of half the layers": {"attentions": {}},
}


@click.command()
@click.option("--shape", type=click.Choice(["bundled", "base"]), default="bundled")
@click.option("--rows", "n_rows", default=256, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--batch-tokens", default=4096, show_default=True)
def main(shape: str, n_rows: int, repeats: int, batch_tokens: int) -> None:
    """Print a table of tokens per second and ratios."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision: Precision = "bfloat16" if device.type == "cuda" else "float32"
    with tempfile.TemporaryDirectory() as scratch:
        model, teacher = _load(shape, Path(scratch))
        torch.nn.Module.to(model, device)
        generator = np.random.default_rng(0)
        ragged = np.clip(generator.lognormal(3.2, 0.5, n_rows), 4, 128).astype(np.int64)
        click.echo(
            f"{'BERT-base, random weights' if shape == 'base' else 'bundled MiniLM-L6-H384'}, "
            f"{device}, {precision}, {n_rows} rows, {torch.get_num_threads()} threads, median of "
            f"{repeats}\n"
        )
        click.echo("| signals | lengths | bare, tokens/s | capture, tokens/s | ratio |")
        click.echo("|---|---|---|---|---|")
        for lengths in (ragged, np.full(n_rows, 128)):
            for name, signals in _SIGNALS.items():
                layers = tuple(range(2, teacher.n_layers + 1, 2))
                chosen = {key: {"layers": layers} for key in signals}
                arrays = SignalsSettings.model_validate(chosen).arrays(CLASSIFICATION)
                times = _measure(
                    model, teacher, arrays, lengths, precision, device, repeats, batch_tokens
                )
                bare, captured = (statistics.median(part) for part in times)
                n_tokens = int(lengths.sum())
                click.echo(
                    f"| {name} | mean {lengths.mean():.0f} | {n_tokens / bare:,.0f} | "
                    f"{n_tokens / captured:,.0f} | {bare / captured:.3f} |"
                )


def _load(shape: str, scratch: Path) -> tuple[PreTrainedModel, Architecture]:
    if shape == "base":
        config = AutoConfig.for_model("bert", num_labels=2)
        config.save_pretrained(scratch)
        return AutoModelForSequenceClassification.from_config(config), read_architecture(scratch)
    folder = find_weights(BUNDLED)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    return model, read_architecture(folder)


def _measure(
    model: PreTrainedModel,
    teacher: Architecture,
    arrays: Arrays,
    lengths: NDArray[np.int64],
    precision: Precision,
    device: torch.device,
    repeats: int,
    batch_tokens: int,
) -> tuple[list[float], list[float]]:
    """Return the seconds of every bare pass and of every capture, after one of each to warm up."""
    tokens = make_table(lengths, teacher)
    rows = distinct_rows(tokens)
    batches = list(batches_by_length(rows.lengths.tolist(), batch_tokens))
    inputs = [plain_inputs(tokens, batch, device) for batch in batches]

    def bare() -> None:
        model.set_attn_implementation("sdpa")
        context = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with torch.inference_mode(), context:
            for batch in inputs:
                model(**batch).logits.cpu()

    def captured(folder: Path) -> None:
        writer = make_store(folder, teacher, arrays, rows.lengths)
        works = list(missing_work(folder, writer.manifest, rows, arrays))

        def prepare(wanted: Arrays) -> Extractor:
            return Extractor(model, wanted, precision, device, Inputs(0, has_token_types=True))

        compute(writer, works, rows, tokens, prepare, TokenBudget(batch_tokens), Processes())

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        times[0].append(_timed(bare))
        with tempfile.TemporaryDirectory() as folder:
            times[1].append(_timed(lambda: captured(Path(folder) / "store")))
    return times[0][1:], times[1][1:]


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
