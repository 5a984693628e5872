"""Uses the kind of task and the metric of CONTRIBUTING.md, in the package they were written into.

Run as a program, with a tiny BERT's checkpoint and a folder to write to.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import pipeline
from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.core.settings import parse_section, read_params
from pipeline.metrics import METRICS
from pipeline.metrics.scores import metric_faults, score
from pipeline.project.check import check_params
from pipeline.report.wording import WORDINGS
from pipeline.tasks import TASKS, task_of
from pipeline.tasks.predictions import Predictions
from pipeline.tasks.task import MaskingSettings, TaskSettings
from pipeline.tasks.token_table import write_tokens
from pipeline.teacher.finetune import finetune
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokenise import TokenizerSettings
from pipeline.text.tokens import open_tokens
from pipeline.train.card_wording import CARD_WORDING


def main(params: Path, checkpoint: Path, folder: Path) -> None:
    """Read data, make the table and fine-tune a teacher; judge made-up predictions."""
    print(pipeline.__file__)
    data = {"source": "files", "path": str(folder / "data")}
    student = {"model": {"n_layers": 1}, "objectives": {"logit_match": {}}}
    sections = {
        **read_params(params),
        "task": {"kind": "proportion"},
        "data": data,
        "students": {"new": student},
    }
    check_params(sections)
    lines = [f"text {number},{number % 5 / 4 if number % 7 else ''}" for number in range(40)]
    (folder / "data").mkdir()
    (folder / "data" / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    task, settings = TASKS["proportion"], parse_section(DataSettings, data, "data")
    corpus = read_corpus(settings, task.read)
    limits = TokenizerSettings(checkpoint=str(checkpoint), max_length=16)
    how = task.tokenising(load_tokenizer(checkpoint), limits, MaskingSettings(), checkpoint)
    names = task.label_names(corpus, None)
    (folder / "tokens").mkdir()
    summary = write_tokens(corpus, task, names, None, how, folder / "tokens")
    tokens = open_tokens(folder / "tokens")
    assert task_of(tokens) is task
    n_labelled = sum(split["n_labelled"] for split in summary["splits"].values())
    assert n_labelled == len([number for number in range(40) if number % 7])
    wrong = {"train": corpus["train"].set_column(2, "label", [["1.5"] * len(corpus["train"])])}
    try:
        task.encode(wrong, names, None)
    except DataError as error:
        print(error)
    metrics = finetune(
        checkpoint,
        tokens,
        task,
        TeacherSettings(checkpoint=str(checkpoint), batch_size=8),
        folder / "teacher",
        inputs={},
        device=torch.device("cpu"),
    )
    assert set(metrics["validation"]) == {*task.metrics, "loss"}
    assert task.describe(corpus["train"], task.encode(corpus, names, None)["train"], names)
    assert {*CARD_WORDING} == {*WORDINGS} == {*TASKS}

    chosen = TaskSettings(kind="classification", metrics=("balanced_accuracy",))
    assert metric_faults(chosen) == []
    assert not METRICS["balanced_accuracy"].fits(task)
    logits = np.eye(2)[[0, 0, 0, 0, 1]]
    made = Predictions(logits, np.array([0, 0, 0, 1, 1]), np.arange(5), "row", ("a", "b"))
    assert score(["balanced_accuracy"], made) == {"balanced_accuracy": (1 + 0.5) / 2}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
