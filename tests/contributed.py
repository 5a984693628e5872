"""Uses the objective and the student of CONTRIBUTING.md, in the package they were written into.

Run as a program, with the folders of a store, of its token table, and to save to.
"""

import sys
from importlib import import_module
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

import pipeline
from pipeline.core.settings import parse_section, read_params
from pipeline.models.inputs import Inputs
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.project.check import check_params
from pipeline.store.reader import open_store
from pipeline.student.build import build_student
from pipeline.student.model import model_of, models_of
from pipeline.tasks import TASKS
from pipeline.text.tokens import open_tokens
from pipeline.train.batches import JoinedSplit
from pipeline.train.loop import train
from pipeline.train.parallel import make_accelerator
from pipeline.train.settings import StudentSettings, TrainingSettings
from pipeline.train.state import TrainState

STUDENT = {
    "model": {"architecture": "averaging", "hidden_size": 16, "dropout": 0.1},
    "objectives": {"correlation": {"weight": 0.5, "temperature": 2.0}, "soft_target": {}},
}


def main(params: Path, store_dir: Path, tokens_dir: Path, folder: Path) -> None:
    """Check, train, save and load the student."""
    print(pipeline.__file__)
    check_params({**read_params(params), "students": {"new": STUDENT}})
    settings = parse_section(StudentSettings, STUDENT, "students.new")
    model = model_of(settings.model, "students.new")
    store, split = open_store(store_dir), open_tokens(tokens_dir).splits["train"]
    models = models_of(model, store.manifest)
    needs = settings.objectives.needs(models)
    torch.manual_seed(0)
    student = build_student(model, store.manifest, store_dir, TASKS["classification"], say=print)
    options = TrainingSettings(batch_size=30, epochs=20, learning_rate=1e-2)
    cpu = torch.device("cpu")
    rows = JoinedSplit(split, store, needs, Inputs(0, has_token_types=True))
    n_steps = rows.count_batches(options) * options.epochs
    learner = TrainState(student, WeightedSum(settings.objectives, models), options, n_steps, cpu)
    start = {name: weight.detach().clone() for name, weight in student.named_parameters()}
    reports = list(train(learner, needs, rows, options, make_accelerator(cpu)))
    assert all(not torch.equal(weight, start[name]) for name, weight in student.named_parameters())
    first, last = (reports[step].terms["correlation"] for step in (0, -1))
    assert 0 < last < first <= 2, (first, last)

    student.eval().save_pretrained(folder)
    import_module("pipeline.student.registration")
    loaded = AutoModelForSequenceClassification.from_pretrained(folder)
    assert type(loaded) is type(student)
    batch = rows.read(torch.arange(8).numpy()).inputs
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, student(**batch).logits)
    print(f"correlation {first:.3f} to {last:.3f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
