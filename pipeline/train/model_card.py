"""The README that travels with a student's checkpoint: a model card as the Hub reads it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult, ModelCardData

from pipeline.core.fingerprint import digest_json
from pipeline.metrics import METRICS
from pipeline.objectives.linear import LinearWeight
from pipeline.store.manifest import Manifest
from pipeline.student.network_settings import STUDENTS
from pipeline.student.settings import ModelSettings
from pipeline.tasks import TASKS
from pipeline.tasks.task import Task
from pipeline.text.tokens import IGNORED, Tokens, is_labelled
from pipeline.train.card_wording import CARD_WORDING
from pipeline.train.student import Student, StudentData

_CARD = """\
---
{metadata}
---

# {name}

A {kind} student, distilled with Decant from the stored signals of a
{teacher.model_type} teacher of {teacher.n_layers} layers (width {teacher.hidden_size}).

## Intended use

{use} It is
for whoever needs the teacher's answers faster or on a smaller machine.

## Limits

- {limit}
- Texts are cut to {max_length} tokens; what follows is not read.
- It imitates its teacher, errors and prejudices included, and was tested for neither.
- The scores below are of the rows that chose its best weights, so they are a little too good;
  other texts than these may fare worse.
- Nobody has said under which licence it may be passed on. Say so above; the teacher's and
  the data's decide.

## How it was made

| | |
|---|---|
| Labels | {labels} |
| Training rows | {train_rows} |
| Validation rows | {validation_rows} |
| Token table | `{tokens}` |
| Objectives (weight) | {objectives} |
| Warm start | {warm_start} |
| Training | {training} |
| Teacher weights | `{weights}` |
| Store identity | `{store}` |
| Store as read | `{read}` |
| Validation | {scores} |

The last line is measured, the digests are of what the student was made from: the teacher's
tensors, the teacher with tokenizer, labels and length limit, and every stored value it read.

## How to load it

Load it with `{auto_class}.from_pretrained` and the tokenizer
beside it; texts are cut to {max_length} tokens.{loading}
"""

_REGISTERED = """ The code of the model lies
beside its weights: pass `trust_remote_code=True` to both, or import
`pipeline.student.registration` where Decant is installed."""


def write_model_card(
    folder: Path, student: Student, data: StudentData, scores: Mapping[str, float]
) -> None:
    """Write `README.md`: what the student is for, what it learned from, how well it does."""
    name, model, tokens, manifest = student.name, student.model, data.tokens, data.view.manifest
    identity = manifest.identity
    task = TASKS[identity.task]
    objectives = [
        f"{term} ({_weight(chosen.weight)})"
        for term, chosen in student.settings.objectives.chosen()
    ]
    wording = CARD_WORDING[task.kind]
    card = _CARD.format(
        metadata=card_metadata(name, task, scores, library="transformers").to_yaml(),
        name=name,
        kind=_kind(model, manifest),
        loading=_REGISTERED if model.architecture in STUDENTS else "",
        teacher=manifest.teacher,
        use=wording.use.format(n_labels=len(identity.labels), labels=", ".join(identity.labels)),
        limit=wording.limit,
        auto_class=task.auto_class,
        labels=", ".join(identity.labels) or "none, but the token ids of its tokenizer",
        train_rows=_rows(tokens, "train"),
        validation_rows=_rows(tokens, "validation"),
        tokens=tokens.digest,
        objectives=", ".join(objectives),
        warm_start=model.started_from,
        training=", ".join(
            f"{key} {value}" for key, value in student.training.model_dump().items()
        ),
        weights=identity.weights,
        store=digest_json(identity.model_dump(mode="json")),
        read=digest_json(manifest.model_dump(mode="json")),
        scores=", ".join(f"{metric} {value:.4f}" for metric, value in scores.items()),
        max_length=identity.max_length,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def card_metadata(
    name: str,
    task: Task,
    scores: Mapping[str, float],
    *,
    library: str,
    licence: str = "unknown",
) -> ModelCardData:
    """Return what the Hub reads of a card; `scores` are those of the validation rows.

    Of several that have one name there, it is the first that models are judged by.
    """
    known: dict[str, float] = {}
    for metric, value in scores.items():
        if METRICS[metric].hub_name:
            known.setdefault(METRICS[metric].hub_name, value)
    results = [
        EvalResult(
            task_type=CARD_WORDING[task.kind].hub_task,
            dataset_type="text",
            dataset_name="validation rows",
            dataset_split="validation",
            metric_type=metric,
            metric_value=round(value, 4),
        )
        for metric, value in known.items()
    ]
    return ModelCardData(
        library_name=library,
        license=licence,
        pipeline_tag=CARD_WORDING[task.kind].hub_task,
        tags=["knowledge-distillation", "decant"],
        metrics=list(known),
        model_name=name,
        eval_results=results,
    )


def _rows(tokens: Tokens, split: str) -> str:
    rows = tokens.splits[split]
    known = is_labelled(rows.labels) & (rows.labels != IGNORED)
    labelled = np.repeat(np.arange(len(rows)), np.diff(rows.label_offsets))[known]
    return f"{len(rows):,}, {len(np.unique(labelled)):,} of them labelled"


def _kind(model: ModelSettings, manifest: Manifest) -> str:
    if model.architecture in STUDENTS:
        return model.architecture
    shape = model.shape(manifest.teacher, manifest.identity.tokenizer)
    return f"{shape.n_layers}-layer transformer"


def _weight(weight: float | LinearWeight) -> str:
    if isinstance(weight, LinearWeight):
        change = f"{weight.start:g} to {weight.end:g}"
        if (weight.start_at, weight.end_at) == (0, 1):
            return change
        return f"{change} between {weight.start_at:.0%} and {weight.end_at:.0%} of the training"
    return f"{weight:g}"
