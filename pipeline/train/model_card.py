"""The README that travels with a student's checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.fingerprint import digest_json
from pipeline.objectives.linear import LinearWeight
from pipeline.store.manifest import Manifest
from pipeline.student import STUDENTS
from pipeline.student.settings import ModelSettings
from pipeline.train.settings import StudentSettings, TrainingSettings

_CARD = """\
---
library_name: transformers
pipeline_tag: text-classification
tags: [knowledge-distillation, decant]
---

# {name}

A {kind} student, distilled with Decant from the stored signals of a
{teacher.model_type} teacher of {teacher.n_layers} layers (width {teacher.hidden_size}).

| | |
|---|---|
| Labels | {labels} |
| Objectives (weight) | {objectives} |
| Warm start | {warm_start} |
| Training | {training} |
| Teacher weights | `{weights}` |
| Store identity | `{store}` |
| Validation | {scores} |

Load it with `AutoModelForSequenceClassification.from_pretrained` and the tokenizer
beside it; texts are cut to {max_length} tokens.{loading}
"""

_REGISTERED = """ The code of the model lies
beside its weights: pass `trust_remote_code=True` to both, or import
`pipeline.student.registration` where Decant is installed."""


def write_model_card(
    folder: Path,
    name: str,
    manifest: Manifest,
    model: ModelSettings,
    settings: StudentSettings,
    training: TrainingSettings,
    scores: Mapping[str, float],
) -> None:
    """Write `README.md`: what the student is, what it learned from, how well it does."""
    identity = manifest.identity
    objectives = [
        f"{term} ({_weight(chosen.weight)})" for term, chosen in settings.objectives.chosen()
    ]
    card = _CARD.format(
        name=name,
        kind=_kind(model, manifest),
        loading=_REGISTERED if model.architecture in STUDENTS else "",
        teacher=manifest.teacher,
        labels=", ".join(identity.labels),
        objectives=", ".join(objectives),
        warm_start=model.started_from,
        training=", ".join(f"{key} {value}" for key, value in training.model_dump().items()),
        weights=identity.weights[:16],
        store=digest_json(identity.model_dump(mode="json"))[:16],
        scores=", ".join(f"{metric} {value:.4f}" for metric, value in scores.items()),
        max_length=identity.max_length,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


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
