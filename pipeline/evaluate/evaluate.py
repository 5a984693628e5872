"""One student beside its teacher: quality, fidelity, cost, and what the report shows of it.

The teacher's predictions, states and attention maps are read from the store. Only its
cost needs the model itself, whose weights the store carries unless it was captured
without them.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

import pipeline.student.registration  # noqa: F401  # the Auto classes then know every student
from pipeline.core.atomic import replacing_folder, write_json
from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.core.stamp import METRICS_NAME, stamp_in
from pipeline.evaluate.cost import Timed, measure_costs
from pipeline.evaluate.fidelity import fidelity
from pipeline.evaluate.predictions import (
    predict_both,
    question_rows,
    write_predictions,
    write_texts_file,
)
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.evaluate.shown import write_shown
from pipeline.evaluate.shown_parts import texts_name
from pipeline.evaluate.work import count_work
from pipeline.metrics import METRICS
from pipeline.metrics.constant_baseline import compare_with_constant
from pipeline.metrics.scores import score
from pipeline.models.head import load_trained
from pipeline.models.inputs import Inputs, ModelRows
from pipeline.models.limits import most_tokens
from pipeline.store.files import is_weights
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.store.view import View
from pipeline.tasks.predictions import Predictions
from pipeline.tasks.task import Task
from pipeline.tasks.token_table import split_for
from pipeline.text.joined import check_source
from pipeline.text.tokens import Tokens, TokenSplit


def evaluate(
    name: str,
    student_dir: Path,
    view: View,
    store_dir: Path,
    tokens: Tokens,
    task: Task,
    settings: EvaluationSettings,
    folder: Path,
    *,
    objectives: list[str],
    inputs: Mapping[str, str],
    device: torch.device,
    shown: View | None = None,
    generated: Tokens | None = None,
) -> dict[str, Any]:
    """Write a student's predictions, metrics and what the report shows to `folder`.

    `shown` is the part of the store that the student is compared with, where that is
    more than it was trained from; `generated` has the teacher's own texts, as a table of the
    same rows. Returns the metrics.

    Raises:
        DataError: the token table has none of the splits asked for, or `generated` was not
            made from it.
        StoreIncompleteError: the store lacks rows of these splits.
    """
    names = [split for split in settings.splits if split in tokens.splits]
    splits = {split: tokens.splits[split] for split in names}
    if not splits:
        raise DataError(
            f"the token table has no {' or '.join(settings.splits)} split to evaluate on. "
            "Set evaluation.splits."
        )
    if generated is not None:
        check_source(tokens, generated, "teacher's texts", made_by="generate")
    store = TeacherStore(store_dir, view.manifest)
    student = nn.Module.to(load_trained(student_dir, task), device)
    tokenizer = load_tokenizer(student_dir)
    reads = Inputs.of(student.config, tokenizer)
    most = most_tokens(student.config)
    rows = {
        split: ModelRows(
            split_for(tokens, task, split, tokenizer, most_tokens=most, is_shown=True),
            tokenizer,
            reads,
        )
        for split in names
    }
    with replacing_folder(folder) as partial:
        scores = {}
        for split_name, split in splits.items():
            ours, theirs = predict_both(
                student,
                rows[split_name],
                split,
                store,
                tokens,
                task,
                settings.generation,
                None if generated is None else generated.splits.get(split_name),
            )
            write_predictions(partial / f"{split_name}.arrow", split, ours, theirs, tokenizer)
            write_texts_file(partial / texts_name(split_name), split, ours, theirs)
            scores[split_name] = {
                "n_rows": len(split),
                "n_predictions": len(theirs.labels),
                "n_labelled": int(np.count_nonzero(theirs.is_labelled)),
                "student": score(task.metrics, ours),
                "teacher": score(task.metrics, theirs),
                "fidelity": fidelity(ours, theirs, task.kind),
                "constant_baseline": {
                    "student": _beside_constant(ours, task),
                    "teacher": _beside_constant(theirs, task),
                },
            }
            if theirs.predicts == "span":
                scores[split_name]["n_questions"] = len(question_rows(split))
        models = {"student": student, **_teacher(store, task)}
        last = names[-1]
        timed = _timed(models, {"student": rows[last].split, "teacher": splits[last]}, settings)
        metrics = {
            "student": name,
            "architecture": student.config.model_type,
            "n_layers": getattr(student.config, "num_hidden_layers", None),
            "objectives": objectives,
            "task": task.kind,
            "metrics": list(task.metrics),
            "labels": list(tokens.labels),
            "splits": scores,
            "cost": _costs(timed, settings, device),
            "work": _work(timed, device),
        }
        write_json(partial / METRICS_NAME, metrics)
        shown = view if shown is None else shown
        compared = [split for split in names if scores[split]["n_labelled"]] or names
        write_shown(partial, student, rows[compared[-1]], tokens, compared[-1], store_dir, shown)
        stamp_in(partial).write(inputs)
    return metrics


def _beside_constant(predictions: Predictions, task: Task) -> dict[str, Any] | None:
    baseline = compare_with_constant(predictions, METRICS[task.primary_metric])
    return None if baseline is None else asdict(baseline)


def _teacher(store: TeacherStore, task: Task) -> dict[str, PreTrainedModel]:
    """Return the teacher to be timed, where the store has its weights and they are here."""
    carried = any(is_weights(name) for name in store.manifest.teacher_files)
    if not carried or store.absent.weights:
        return {}
    return {"teacher": load_trained(store.store_dir / TEACHER_FOLDER, task)}


def _timed(
    models: Mapping[str, PreTrainedModel],
    splits: Mapping[str, TokenSplit],
    settings: EvaluationSettings,
) -> dict[str, Timed]:
    n_rows = len(splits["student"])
    chosen = np.linspace(0, n_rows - 1, min(settings.n_latency_examples, n_rows)).astype(int)
    asks_for_pieces = splits["student"].asks_for_pieces
    return {
        name: Timed(
            model,
            [splits[name].row(row)[0].tolist() for row in chosen],
            int(model.config.pad_token_id or 0),
            [splits[name].row(row).asked for row in chosen] if asks_for_pieces else None,
        )
        for name, model in models.items()
    }


def _costs(
    timed: Mapping[str, Timed], settings: EvaluationSettings, device: torch.device
) -> dict[str, Any]:
    costs = measure_costs(timed, n_repeats=settings.n_latency_repeats, device=device)
    return {
        "device": device.type,
        "n_threads": torch.get_num_threads(),
        "student": asdict(costs["student"]),
        "teacher": asdict(costs["teacher"]) if "teacher" in costs else None,
    }


def _work(timed: Mapping[str, Timed], device: torch.device) -> dict[str, Any]:
    work = {name: asdict(count_work(one, device)) for name, one in timed.items()}
    return {"student": work["student"], "teacher": work.get("teacher")}
