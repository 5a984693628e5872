"""Models with a task's head: from a checkpoint, or new."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import CheckpointError, first_line
from pipeline.core.weights import Shape, some_of
from pipeline.models.architecture import load_config
from pipeline.models.checkpoint_config import check_config
from pipeline.models.tensor_faults import check_tensors
from pipeline.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn
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
        CheckpointError: the weights cannot be loaded so, or are not those of the model that the
            checkpoint's config describes.
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
    check_config(checkpoint)
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
    check_tensors(checkpoint, model, loading)
    return _like_others(_in_own_names(model), task), loading


def load_on_meta(
    checkpoint: Path, task: Task, shapes: Mapping[str, Shape]
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """Return a model without weights, and what Transformers would say of a checkpoint's tensors.

    `shapes` are those of its tensors by name. No weight is read or held.

    Raises:
        CheckpointError: Transformers has no model of this type for the task.
    """
    import torch
    from transformers.utils import logging

    config = load_config(checkpoint)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    level, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # the report is for the caller to judge
    logging.disable_progress_bar()
    try:
        with torch.device("meta"):
            model_class = type(task.auto_model.from_config(config))
        model, loading = model_class.from_pretrained(
            None,  # an Auto class wants a name here
            config=config,
            state_dict=state,
            device_map="meta",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ValueError as error:
        raise CheckpointError(f"{checkpoint} cannot be loaded: {first_line(error)}") from error
    finally:
        logging.set_verbosity(level)
        if has_bar:
            logging.enable_progress_bar()
    return model, loading


def load_trained(checkpoint: Path, task: Task) -> "PreTrainedModel":
    """Return the model that a checkpoint with the task's head is.

    `trust_remote_code=False`: registered students come from this library's own code.

    Raises:
        CheckpointError: a tensor is missing.
    """
    model, loading = task.auto_model.from_pretrained(
        checkpoint, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if missing := sorted(loading["missing_keys"]):
        raise CheckpointError(f"{checkpoint} lacks {some_of(missing)}. Copy it again.")
    return _like_others(_in_own_names(model), task)


def _in_own_names(model: "PreTrainedModel") -> "PreTrainedModel":
    """Let a model be saved with its tensors under the names that its class gives them.

    Transformers maps old names (`LayerNorm.gamma`) when it loads, and maps them back when it
    saves. A student reads the teacher's by the names of the class, and would find none under the
    old ones.
    """
    vars(model)["_weight_conversions"] = []
    return model


def new_model(config: "PreTrainedConfig", task: Task) -> "PreTrainedModel":
    """Return a model of torch's random generator, in float32."""
    import torch

    # The config may be of a teacher of 16 bits, in which small steps would be rounded away.
    return _like_others(task.auto_model.from_config(config, dtype=torch.float32), task)


class AtTargets:
    """Lets a language model take `is_target` (row, token) and give logits (target, piece).

    A vocabulary's logits are most of what a language model computes and nearly all of what it
    holds: for 4,096 tokens and 50,000 token ids 800 MB, of which a masked model needs an eighth.
    The last projection, onto the vocabulary, is given the states of the targets alone, row
    after row. A model that is called without `is_target` gives logits of all tokens.

    Raises:
        CheckpointError: the model has no such projection.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        projection = model.get_output_embeddings()
        if projection is None:
            raise CheckpointError(
                f"a {type(model).__name__} has no output embeddings, so it predicts no word "
                "piece. Use a checkpoint of a language model."
            )
        self._is_target: Tensor | None = None
        model.register_forward_pre_hook(self._take, with_kwargs=True)
        projection.register_forward_pre_hook(self._choose)

    def _take(
        self, model: "nn.Module", args: tuple[Any, ...], inputs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Keep `is_target` for the projection of this call."""
        self._is_target = inputs.get("is_target")
        return args, {name: value for name, value in inputs.items() if name != "is_target"}

    def _choose(self, projection: "nn.Module", args: tuple["Tensor", ...]) -> tuple["Tensor", ...]:
        """Return the states of the targets, (target, hidden), of all states."""
        states, *others = args
        return args if self._is_target is None else (states[self._is_target], *others)


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
