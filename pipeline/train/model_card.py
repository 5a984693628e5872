"""The README that travels with a student's checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.fingerprint import digest_json
from pipeline.store.manifest import Manifest
from pipeline.train.settings import StudentSettings, TrainingSettings

_CARD = """\
---
library_name: transformers
pipeline_tag: text-classification
tags: [knowledge-distillation, decant]
---

# {name}

A student of {n_layers} layers, distilled with Decant from the stored signals of a
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
beside it; texts are cut to {max_length} tokens.
"""


def write_model_card(
    folder: Path,
    name: str,
    manifest: Manifest,
    settings: StudentSettings,
    training: TrainingSettings,
    scores: Mapping[str, float],
) -> None:
    """Write `README.md`: what the student is, what it learned from, how well it does."""
    identity = manifest.identity
    objectives = [f"{term} ({chosen.weight:g})" for term, chosen in settings.objectives.chosen()]
    warm_start = settings.model.warm_start
    card = _CARD.format(
        name=name,
        n_layers=settings.model.n_layers,
        teacher=manifest.teacher,
        labels=", ".join(identity.labels),
        objectives=", ".join(objectives),
        warm_start=warm_start if isinstance(warm_start, str) else f"teacher layers {warm_start}",
        training=", ".join(f"{key} {value}" for key, value in training.model_dump().items()),
        weights=identity.weights[:16],
        store=digest_json(identity.model_dump(mode="json"))[:16],
        scores=", ".join(f"{metric} {value:.4f}" for metric, value in scores.items()),
        max_length=identity.max_length,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
