"""Training from a store against training with the teacher in the loop, ours and TextBrewer's.

A random BERT-base teacher of 12 layers and a student, the same rows, batches and kinds of
losses: labels and soft targets; for a student of 3 layers also two intermediate matches of [CLS]
(TextBrewer: of the hidden states) and attention maps of three pairs of layers. All three take
turns in this process. The capture that an offline student needs once is not in its time: it is
paid once for all students.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from benchmarks.made_training import (
    BASE,
    make_learner,
    make_split_and_store,
    make_student,
    models_of,
    objectives_of,
    short_lengths,
)
from benchmarks.online import OnlineSplit
from benchmarks.text_brewer import text_brewer_epoch
from pipeline.models.inputs import Inputs
from pipeline.store.reader import open_store
from pipeline.student.network_settings import STUDENTS
from pipeline.student.settings import TRANSFORMER
from pipeline.train.batches import JoinedSplit
from pipeline.train.loop import train
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import TrainingSettings


@click.command()
@click.option("--rows", "n_rows", default=256, show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option(
    "--student",
    "kind",
    default=TRANSFORMER,
    show_default=True,
    type=click.Choice([TRANSFORMER, *STUDENTS]),
)
@click.option(
    "--frozen",
    "is_frozen",
    is_flag=True,
    help="Do not train word-piece embeddings.",
)
def main(n_rows: int, batch_size: int, repeats: int, kind: str, is_frozen: bool) -> None:
    """Print seconds of an epoch in each way and how much faster the store is."""
    lengths = short_lengths(n_rows)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    accelerator = make_accelerator(device)
    settings = TrainingSettings(batch_size=batch_size, epochs=1)
    needs = objectives_of(BASE, kind).needs(models_of(BASE, kind))
    with tempfile.TemporaryDirectory() as scratch:
        split = make_split_and_store(Path(scratch) / "store", BASE, lengths, 512)
        store = open_store(Path(scratch) / "store")
        teacher = _teacher("sdpa").to(device)
        rows: dict[str, JoinedSplit] = {
            "from the store": JoinedSplit(split, store, needs, Inputs(0, has_token_types=True)),
            "with the teacher": OnlineSplit(
                split, store, needs, teacher, device, has_token_types=True
            ),
        }
        order = rows["from the store"].order(settings, 0)
        batches = [rows["from the store"].read(members) for members in order.batches]

        def peer_student() -> PreTrainedModel:
            student = make_student(BASE, kind, is_frozen=is_frozen).to(device)
            if kind == TRANSFORMER:
                student.set_attn_implementation("eager")
            return student

        def ours(name: str) -> None:
            learner = make_learner(BASE, n_rows, settings, accelerator, kind, is_frozen=is_frozen)
            for _ in train(learner, needs, rows[name], settings, accelerator):
                pass

        ways: dict[str, Callable[[], None]] = {
            "from the store": lambda: ours("from the store"),
            "with the teacher": lambda: ours("with the teacher"),
            "TextBrewer": text_brewer_epoch(
                _teacher("eager").to(device),
                peer_student,
                [{**batch.inputs, "labels": batch.labels} for batch in batches],
                [(layer, 4 * layer) for layer in (1, 2, 3)] if kind == TRANSFORMER else [],
                Path(scratch),
                device,
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for repeat in range(repeats + 1):
            for name, work in ways.items():
                start = time.perf_counter()
                work()
                if repeat:  # the first of each is for warming up
                    seconds[name].append(time.perf_counter() - start)
    frozen = ", embeddings frozen" if is_frozen else ""
    click.echo(
        f"BERT-base, 12 layers, random weights; student: {kind}{frozen}; {device}, "
        f"{n_rows} rows of {lengths.mean():.0f} tokens, batches of {batch_size}, "
        f"{torch.get_num_threads()} threads, {repeats} epochs each\n"
    )
    click.echo("| way | an epoch, s | the store is faster by (median of turns) |\n|---|---|---|")
    for name, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken, seconds["from the store"], strict=True)]
        click.echo(f"| {name} | {statistics.median(taken):.1f} | {statistics.median(ratios):.2f} |")


def _teacher(attention: str) -> PreTrainedModel:
    torch.manual_seed(1)
    config = AutoConfig.for_model("bert", num_labels=2, attn_implementation=attention)
    model = AutoModelForSequenceClassification.from_config(config)
    assert isinstance(model, PreTrainedModel)
    return model.eval()


if __name__ == "__main__":
    main()
