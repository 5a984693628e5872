"""TextBrewer's `GeneralDistiller` on given batches: the peer of the training benchmarks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
from torch import Tensor
from torch.optim import AdamW
from transformers import PreTrainedModel

Inputs = Mapping[str, Tensor]


class PlainBatches:
    """Padded batches as plain dicts, ready in memory."""

    def __init__(self, batches: Sequence[Inputs]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in self._batches:
            yield dict(batch)


def text_brewer_epoch(
    teacher: PreTrainedModel,
    make_student: Callable[[], PreTrainedModel],
    batches: Sequence[Inputs],
    pairs: Sequence[tuple[int, int]],
    folder: Path,
    device: torch.device,
) -> Callable[[], None]:
    """Return a function that trains a new student for one epoch, with the teacher in the loop.

    Losses: cross-entropy with the labels, soft targets at T = 4, mean squared differences of
    attention maps of `pairs` of layers (student, teacher) and of the hidden states of all but the
    last pair. Both models need eager attention to return their maps.
    """

    def adapt(batch: Inputs, outputs: Any) -> dict[str, Any]:
        return {
            "logits": (outputs.logits,),
            "losses": (outputs.loss,),
            "inputs_mask": batch["attention_mask"],
            **({"hidden": outputs.hidden_states, "attention": outputs.attentions} if pairs else {}),
        }

    def match(feature: str, student_layer: int, teacher_layer: int) -> dict[str, Any]:
        loss = f"{feature}_mse"
        layers = {"layer_S": student_layer, "layer_T": teacher_layer}
        return {**layers, "feature": feature, "loss": loss, "weight": 1}

    matches = [match("attention", ours - 1, theirs - 1) for ours, theirs in pairs]
    matches += [match("hidden", ours, theirs) for ours, theirs in pairs[:-1]]
    distillation = DistillationConfig(
        temperature=4, kd_loss_weight=0.5, hard_label_weight=0.5, intermediate_matches=matches
    )
    training = TrainingConfig(
        device=str(device), output_dir=str(folder), ckpt_steps=10**9, log_dir=None
    )

    def epoch() -> None:
        student = make_student()
        distiller = GeneralDistiller(training, distillation, teacher, student, adapt, adapt)
        with distiller:
            distiller.train(
                AdamW(student.parameters(), lr=1e-4),
                PlainBatches(batches),
                num_steps=len(batches),
                max_grad_norm=1.0,
                **({"output_hidden_states": True, "output_attentions": True} if pairs else {}),
            )

    return epoch
