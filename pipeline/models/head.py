"""Models with a task's head: from a checkpoint, or new."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.checkpoint import read_config
from pipeline.core.errors import CheckpointError, first_line
from pipeline.models.at_targets import AtTargets
from pipeline.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import QuestionAnsweringModelOutput, TokenClassifierOutput


def load_with_head(
    checkpoint: Path, task: Task, labels: Sequence[str]
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """Return the model in float32, and what Transformers says of its tensors.

    Weights come from safetensors only, and no code from the checkpoint. A head that the
    checkpoint lacks (`missing_keys`) or has for other labels (`mismatched_keys`) is of
    torch's random generator.

    Raises:
        CheckpointError: the weights cannot be loaded so.
    """
    options: dict[str, Any] = (
        {} if task.problem_type is None else {"problem_type": task.problem_type}
    )
    if task.predicts != "piece":  # else the classes are the vocabulary
        options |= {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {name: index for index, name in enumerate(labels)},
        }
    try:
        model, loading = task.auto_model.from_pretrained(
            checkpoint,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype="float32",
            **options,
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint} cannot be loaded: {first_line(error)}") from error
    return _like_others(model, task), loading


def load_trained(checkpoint: Path, task: Task) -> "PreTrainedModel":
    """Return the model that a checkpoint with the task's head is.

    `trust_remote_code=False`: registered students come from this library's own code.
    """
    model = task.auto_model.from_pretrained(
        checkpoint, use_safetensors=True, trust_remote_code=False
    )
    return _like_others(model, task)


def new_model(config: "PreTrainedConfig", task: Task) -> "PreTrainedModel":
    """Return a model of torch's random generator, in float32."""
    import torch

    # The config may be of a teacher of 16 bits, in which small steps would be rounded away.
    return _like_others(task.auto_model.from_config(config, dtype=torch.float32), task)


def _like_others(model: "PreTrainedModel", task: Task) -> "PreTrainedModel":
    """Let every model read rows and give `logits`.

    One for questions with choices reads rows, each the only choice of a question; one for
    answers within texts gives the logits of an answer's first and last token as two labels;
    one for word pieces gives the logits of those that are asked for, as `AtTargets` says.
    """
    if task.predicts == "choice":
        model.register_forward_pre_hook(_as_questions, with_kwargs=True)
    if task.predicts == "span":
        model.register_forward_hook(_with_logits)
    if task.predicts == "piece":
        AtTargets(model)
    return model


def _as_questions(
    model: "nn.Module", args: tuple[Any, ...], inputs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return inputs (row, token) as (row, 1, token)."""
    import torch

    def is_by_token(value: object) -> bool:
        return isinstance(value, torch.Tensor) and value.ndim == 2

    return args, {
        name: value[:, None] if is_by_token(value) else value for name, value in inputs.items()
    }


def _with_logits(
    model: "nn.Module", args: tuple[Any, ...], outputs: "QuestionAnsweringModelOutput"
) -> "TokenClassifierOutput":
    """Return outputs with the two logits of each token, (row, token, 2), in one tensor."""
    import torch
    from transformers.modeling_outputs import TokenClassifierOutput

    starts, ends = outputs.start_logits, outputs.end_logits
    assert starts is not None
    assert ends is not None
    return TokenClassifierOutput(
        logits=torch.stack([starts, ends], -1),
        hidden_states=outputs.hidden_states,
        attentions=outputs.attentions,
    )


def names_of_head(checkpoint: Path) -> list[str] | None:
    """Return the names of a head's labels in the order of its outputs; None where it names none.

    Those are `id2label` of config.json, or `label2id` where the first says no more than that
    there are labels (`LABEL_0`).

    Raises:
        CheckpointError: both name the same labels, in different orders.
    """
    config = read_config(checkpoint)
    by_number, by_name = (config.get(key) or {} for key in ("id2label", "label2id"))
    orders = [
        [str(by_number[number]) for number in sorted(by_number, key=int)],
        [str(name) for name in sorted(by_name, key=lambda name: int(by_name[name]))],
    ]
    named = [names for names in orders if names != [f"LABEL_{i}" for i in range(len(names))]]
    if len(named) == 2 and named[0] != named[1] and sorted(named[0]) == sorted(named[1]):
        raise CheckpointError(
            f"{checkpoint / 'config.json'} has its labels in two orders: {', '.join(named[0])} in "
            f"id2label, {', '.join(named[1])} in label2id. Correct the one that is wrong."
        )
    return named[0] if named else None


def reorder_labels(model: "PreTrainedModel", stored: Sequence[str], labels: Sequence[str]) -> None:
    """Put a head's outputs, which are in the order of `stored`, into that of the same `labels`.

    Raises:
        CheckpointError: which of the head's tensors have one part for each label is not clear.
    """
    import torch

    order = torch.tensor([stored.index(name) for name in labels])
    encoder = f"{model.base_model_prefix}."
    head = {
        name: weight
        for name, weight in model.named_parameters()
        if not name.startswith(encoder) and len(weight) == len(labels)
    }
    if len({name.rpartition(".")[0] for name in head}) != 1:
        raise CheckpointError(
            f"the labels of {model.config.name_or_path} are in another order than the data's, and "
            f"{', '.join(head) or 'no tensor'} may give them. Name them in the order "
            f"{', '.join(stored)} under data.labels."
        )
    with torch.no_grad():
        for weight in head.values():
            weight.copy_(weight[order])
