"""A finished student as files that need neither torch nor Decant to run.

Nothing is believed: every file is run on all validation rows beside the student itself, and
timed beside it.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import pipeline.student.registration  # noqa: F401  # the Auto classes then know every student
from pipeline.core.atomic import replacing_folder, write_json
from pipeline.core.checkpoint import load_tokenizer, read_config
from pipeline.core.errors import DataError, ExportError
from pipeline.core.stamp import METRICS_NAME, stamp_in
from pipeline.evaluate.cost import Timed, measure_costs
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.export.card import CARD_NAME, STUDENT_CARD_NAME, write_export_card
from pipeline.export.int8 import Measured, why_not, write_int8
from pipeline.export.onnx_file import OPSET, write_onnx
from pipeline.export.session import OnnxStudent, check_agreement, largest_difference
from pipeline.export.settings import FILES, ExportSettings
from pipeline.metrics import METRICS
from pipeline.metrics.scores import score
from pipeline.models.head import load_trained
from pipeline.models.inputs import Inputs, ModelRows
from pipeline.models.limits import most_tokens
from pipeline.models.predict import LogitsOf, flat_logits
from pipeline.tasks.predictions import predictions_of
from pipeline.tasks.task import Task
from pipeline.tasks.token_table import split_for
from pipeline.text.tokens import Tokens


def export(
    name: str,
    student_dir: Path,
    tokens: Tokens,
    task: Task,
    settings: ExportSettings,
    evaluation: EvaluationSettings,
    folder: Path,
    *,
    inputs: Mapping[str, str],
) -> dict[str, Any]:
    """Write a student's ONNX files, tokenizer and card to `folder`; return their metrics.

    All is done on the CPU with torch's number of threads. The 8-bit file is left out where it
    is not smaller, or is slower here; the metrics then say why, under `int8.why_not`.

    Raises:
        ExportError: students of the task, or this one, cannot be exported, or the float32
            file's logits are further from PyTorch's than rounding explains.
        DataError: no validation row is labelled.
    """
    if why := task.not_exported:
        raise ExportError(f"{name} is not exported: {why}")
    student = load_trained(student_dir, task).float()
    tokenizer = load_tokenizer(student_dir)
    trial = _Trial.of(student, tokens, tokenizer, task)
    limits = tokens.max_length, tokenizer.model_max_length, most_tokens(student.config)
    max_length = min(limit for limit in limits if limit is not None)
    with replacing_folder(folder) as partial:
        paths = {form: partial / file for form, file in FILES.items()}
        metadata = {
            "labels": json.dumps(tokens.labels),
            "max_length": str(max_length),
            "student": name,
        }
        write_onnx(student, tokenizer.model_input_names, paths["float32"], metadata)
        models: dict[str, nn.Module] = {"pytorch": student}
        models["float32"] = exported = OnnxStudent(paths["float32"])
        results = {"pytorch": {"validation": trial.scores}, "float32": trial.compare(exported)}
        check_agreement(results["float32"]["largest_difference"], len(trial.rows.split))
        if settings.int8:
            write_int8(paths["float32"], paths["int8"])
            models["int8"] = exported = OnnxStudent(paths["int8"])
            results["int8"] = trial.compare(exported)
        costs = _measure(models, paths, trial, evaluation)
        for form in results:
            results[form] |= asdict(costs[form])
        kept = dict(FILES)
        if settings.int8:
            results["int8"]["why_not"] = why_not(costs["float32"], costs["int8"])
        if not settings.int8 or results["int8"]["why_not"]:
            del kept["int8"]
            paths["int8"].unlink(missing_ok=True)
        metrics = {
            "student": name,
            "architecture": student.config.model_type,
            "task": task.kind,
            "max_length": max_length,
            "n_rows": len(trial.rows.split),
            "n_threads": torch.get_num_threads(),
            "opset": OPSET,
            **results,
        }
        tokenizer.save_pretrained(partial)
        _write_config(student_dir, partial)
        shutil.copyfile(student_dir / CARD_NAME, partial / STUDENT_CARD_NAME)
        write_export_card(partial, metrics, kept, licence=settings.license)
        write_json(partial / METRICS_NAME, metrics)
        stamp_in(partial).write(inputs)
    return metrics


@dataclass(frozen=True)
class _Trial:
    """The validation rows, with what the student itself makes of them."""

    rows: ModelRows
    task: Task
    names: tuple[str, ...]
    """Label names."""
    numbers: Float[np.ndarray, "flat width"]
    """All logits of the student; of a language model the log-probabilities of the labels."""
    scores: dict[str, float]

    @classmethod
    def of(
        cls,
        student: PreTrainedModel,
        tokens: Tokens,
        tokenizer: PreTrainedTokenizerFast,
        task: Task,
    ) -> "_Trial":
        most = most_tokens(student.config)
        split = split_for(tokens, task, "validation", tokenizer, most_tokens=most, is_shown=True)
        rows = ModelRows(split, tokenizer, Inputs.of(student.config, tokenizer))
        numbers, scores = _judged(student, rows, task, tokens.labels)
        if not scores:
            raise DataError("the validation split has no labelled row to test the export on")
        return cls(rows, task, tokens.labels, numbers, scores)

    def compare(self, exported: OnnxStudent) -> dict[str, Any]:
        """Return the scores of an exported student, and how far it is from the student."""
        numbers, scores = _judged(exported.logits, self.rows, self.task, self.names)
        first = METRICS[self.task.primary_metric]
        lost = first.loss(scores[first.name], self.scores[first.name])
        return {
            "validation": scores,
            "lost_points": first.unit.factor * lost,
            "largest_difference": largest_difference(numbers, self.numbers),
        }


def _judged(
    model: PreTrainedModel | LogitsOf, rows: ModelRows, task: Task, names: tuple[str, ...]
) -> tuple[Float[np.ndarray, "flat width"], dict[str, float]]:
    """Return the numbers by which a file is compared with its student, and its scores."""
    logits, in_vocabulary = flat_logits(model, rows, task, len(names))
    scores = score(task.metrics, predictions_of(logits, rows.split, task, names, in_vocabulary))
    return (logits if in_vocabulary is None else in_vocabulary.of_label[:, None]), scores


def _measure(
    models: Mapping[str, nn.Module],
    paths: Mapping[str, Path],
    trial: _Trial,
    settings: EvaluationSettings,
) -> dict[str, Measured]:
    """Return size and speed of each model, timed in turn."""
    n_rows = len(trial.rows.split)
    chosen = np.linspace(0, n_rows - 1, min(settings.n_latency_examples, n_rows)).astype(int)
    examples = [trial.rows.split.row(row)[0].tolist() for row in chosen]
    pad_id = trial.rows.inputs.pad_id
    timed = {form: Timed(model, examples, pad_id) for form, model in models.items()}
    costs = measure_costs(timed, n_repeats=settings.n_latency_repeats, device=torch.device("cpu"))
    return {
        form: Measured(
            size_bytes=paths[form].stat().st_size if form in paths else cost.size_bytes,
            latency_ms=cost.latency_ms,
            throughput_per_second=cost.throughput_per_second,
        )
        for form, cost in costs.items()
    }


def _write_config(student_dir: Path, folder: Path) -> None:
    """Write the student's config without the way to its code, which is not here."""
    config = read_config(student_dir)
    write_json(folder / "config.json", {key: config[key] for key in config if key != "auto_map"})
