"""How much of a difference between students is chance: every student over several seeds.

Reads params.yaml, tokens, store and views of the project in the current folder, as
`dvc repro` left them, trains every student once for each seed in this one process, and
prints a table of validation accuracy. Nothing in the project is changed.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from pipeline.evaluate.quality import quality
from pipeline.runtime import RuntimeSettings, pick_device
from pipeline.settings import parse_section, read_params
from pipeline.store.reader import open_store
from pipeline.store.view import read_view
from pipeline.tasks import TASKS
from pipeline.text.tokens import open_tokens
from pipeline.train.distill import distill
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import StudentSettings, training_of
from stages.paths import STORE, TOKENS, view_path


@click.command()
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
def main(seeds: tuple[int, ...]) -> None:
    """Print mean and standard deviation of each student's validation accuracy."""
    params = read_params()
    tokens, store = open_tokens(TOKENS), open_store(STORE)
    device = pick_device(parse_section(RuntimeSettings, params.get("runtime"), "runtime"))
    validation = tokens.splits["validation"]
    teacher = quality(
        store.logits(store.find(validation.keys).tolist()).numpy(), validation.labels
    )["accuracy"]
    lines = [
        "| | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | sd |",
        "|---|" + "---|" * (len(seeds) + 2),
        f"| teacher |{' |' * len(seeds)} {teacher:.4f} | |",
    ]
    for name, value in tqdm(params["students"].items(), "students"):
        scores = [_train(name, value, params, seed, device) for seed in seeds]
        cells = [f"{score:.4f}" for score in scores]
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        cells += [f"{statistics.mean(scores):.4f}", f"{spread:.4f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rows = len(tokens.splits["train"])
    click.echo(f"Validation accuracy, {len(validation)} rows; {rows:,} training rows.\n")
    click.echo("\n".join(lines))


def _train(
    name: str, value: object, params: dict[str, Any], seed: int, device: torch.device
) -> float:
    place = f"students.{name}"
    student = parse_section(StudentSettings, value, place)
    training = training_of(params, student, place).model_copy(update={"seed": seed})
    view = read_view(view_path(name))
    with tempfile.TemporaryDirectory() as folder:
        trained = distill(
            name,
            view,
            STORE,
            open_tokens(TOKENS),
            TASKS[view.manifest.identity.task],
            student,
            training,
            Path(folder) / name,
            judge=quality,
            inputs={},
            unfinished_dir=Path(folder) / "unfinished",
            seconds_between_saves=600.0,
            accelerator=make_accelerator(device),
        )
    return trained.scores["accuracy"]


if __name__ == "__main__":
    main()
