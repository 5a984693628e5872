"""The README that travels with a student's checkpoint: a model card as the Hub reads it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult, ModelCardData

from pipeline.core.fingerprint import digest_json
from pipeline.objectives.linear import LinearWeight
from pipeline.store.manifest import Manifest
from pipeline.student.network_settings import STUDENTS
from pipeline.student.settings import ModelSettings
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind, Task
from pipeline.text.tokens import IGNORED, Tokens, is_labelled
from pipeline.train.student import Student, StudentData

HUB_METRICS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "macro_f1": "f1",
    "micro_f1": "f1",
    "entity_f1": "f1",
    "exact_match": "exact_match",
    "answer_f1": "f1",
    "answer_exact_match": "exact_match",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "mean_squared_error": "mse",
    "perplexity": "perplexity",
    "bleu": "sacrebleu",
    "chrf": "chrf",
    "text_exact_match": "exact_match",
}
"""Scores by the names that they have on the Hub; others stand in the text alone."""

HUB_TASKS: dict[Kind, str] = {
    "classification": "text-classification",
    "multi_label": "text-classification",
    "regression": "text-classification",
    "token_classification": "token-classification",
    "multiple_choice": "multiple-choice",
    "question_answering": "question-answering",
    "masked_lm": "fill-mask",
    "sequence_to_sequence": "translation",
}

_USES: dict[Kind, str] = {
    "classification": "It sorts texts like those it was trained on into {n_labels} labels: "
    "{labels}.",
    "multi_label": "It gives texts like those it was trained on any of {n_labels} labels: "
    "{labels}.",
    "regression": "It gives texts like those it was trained on a number.",
    "token_classification": "It gives each word of texts like those it was trained on one of "
    "{n_labels} labels: {labels}.",
    "multiple_choice": "It chooses among the answers to a question, for texts like those it was "
    "trained on.",
    "question_answering": "It finds where the answer to a question stands in a text, for texts "
    "like those it was trained on.",
    "masked_lm": "It says which word pieces masks hide in texts like those it was trained on; it "
    "is also what models of other tasks start from.",
    "sequence_to_sequence": "It writes a text for texts like those it was trained on, such as a "
    "translation or a summary.",
}
_LIMITS: dict[Kind, str] = {
    "classification": "It gives one of these labels to any text, also to one that none of them "
    "fits.",
    "multi_label": "It knows no other labels than these.",
    "regression": "It gives a number to any text, also to one that is like none it was trained on.",
    "token_classification": "It gives one of these labels to any word, also to one that none of "
    "them fits.",
    "multiple_choice": "It chooses one of the answers, also where none of them is right.",
    "question_answering": "It answers in the words of the text alone; where no training question "
    "was without an answer, it gives one to any question.",
    "masked_lm": "It puts a likely word into any gap, whether what it then says is true or not.",
    "sequence_to_sequence": "What it writes reads well where it is wrong, too.",
}

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
    card = _CARD.format(
        metadata=card_metadata(name, task, scores, library="transformers").to_yaml(),
        name=name,
        kind=_kind(model, manifest),
        loading=_REGISTERED if model.architecture in STUDENTS else "",
        teacher=manifest.teacher,
        use=_USES[task.kind].format(
            n_labels=len(identity.labels), labels=", ".join(identity.labels)
        ),
        limit=_LIMITS[task.kind],
        auto_class=task.auto_class,
        labels=", ".join(identity.labels) or "none, but the word pieces of its tokenizer",
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
        if metric in HUB_METRICS:
            known.setdefault(HUB_METRICS[metric], value)
    results = [
        EvalResult(
            task_type=HUB_TASKS[task.kind],
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
        pipeline_tag=HUB_TASKS[task.kind],
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
