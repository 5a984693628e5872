"""A batch computed in parts gives what it gives whole, and both what plain formulas give."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, log_softmax
from transformers import PreTrainedModel

from pipeline.store.reader import open_store
from pipeline.text.tokens import TokenSplit
from pipeline.train.state import TrainState
from tests.train.conftest import EVERY_OBJECTIVE, MakeSetting, Setting, without_dropout

BATCH_SIZE = 16  # 60 rows: the last batch has 12


def partly_labelled(split: TokenSplit) -> TokenSplit:
    """Return the split with four of five labels taken away, unevenly: some parts have none."""
    is_kept = np.random.default_rng(3).random(len(split)) < 0.2
    return replace(split, labels=np.where(is_kept, split.labels, -1))


class Reference:
    """The total loss in float64, row by row, without padding, straight from the definitions."""

    def __init__(self, setting: Setting, split: TokenSplit) -> None:
        self.split = split
        self.store = open_store(setting.store)
        self.rows = self.store.find(split.keys)

    def total(self, student: PreTrainedModel, batch: list[int]) -> Tensor:
        rows = [self.one_row(student, row) for row in batch]
        n_labelled = sum(int(self.split.labels[row] >= 0) for row in batch)
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        means["hard_label"] *= len(rows) / max(1, n_labelled)
        return sum(
            (EVERY_OBJECTIVE[name]["weight"] * mean for name, mean in means.items()),
            start=torch.zeros(()),
        )

    def one_row(self, student: PreTrainedModel, row: int) -> dict[str, Tensor]:
        ids, types = (
            torch.from_numpy(part.astype(np.int64))[None] for part in self.split.row(row)[:2]
        )
        outputs = student(
            input_ids=ids, token_type_ids=types, output_hidden_states=True, output_attentions=True
        )
        at = self.rows[[row]]
        ours, theirs = outputs.logits[0], self.store.logits(at)[0].double()
        label = int(self.split.labels[row])
        temperature = EVERY_OBJECTIVE["soft_target"]["temperature"]
        hot = log_softmax(ours / temperature, -1), log_softmax(theirs / temperature, -1)
        states = self.store.cls(at)[0].double()
        # The squared distance of two unit vectors is 2 - 2 cos.
        distances = [
            2 - 2 * cosine_similarity(outputs.hidden_states[k][0, 0], states[m], dim=-1)
            for k, m in EVERY_OBJECTIVE["cls"]["layer_map"]
        ]
        divergences = []
        for k, m in ((1, 2), (2, 4)):
            n = ids.shape[1]
            map_of_teacher = self.store.attentions(at, m).double().view(-1, n, n)
            log_ratio = map_of_teacher.log() - outputs.attentions[k - 1][0].log()
            divergences.append((map_of_teacher * log_ratio).sum(-1).mean())
        return {
            "hard_label": -log_softmax(ours, -1)[label] if label >= 0 else ours.sum() * 0,
            "soft_target": temperature**2 * (hot[1].exp() * (hot[1] - hot[0])).sum(),
            "logit_match": ((ours - theirs) ** 2).mean(),
            "cls": torch.stack(distances).sum(),
            "attentions": torch.stack(divergences).mean(),
        }


@pytest.mark.parametrize("micro_batch_size", [None, 1, 5, 16])
@pytest.mark.parametrize("has_all_labels", [True, False])
def test_losses_and_gradients_are_those_of_the_definitions(
    micro_batch_size: int | None,
    has_all_labels: bool,
    make_setting: MakeSetting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches parts that count equally whatever their size, labels of -1 that are learned, a
    gradient that is left from the batch before, and a short last batch that counts as a full one.
    """
    setting = make_setting(**EVERY_OBJECTIVE)
    split = setting.tokens.splits["train"]
    split = split if has_all_labels else partly_labelled(split)
    monkeypatch.setitem(setting.tokens.splits, "train", split)  # type: ignore[arg-type]
    student = without_dropout(setting.build_student())
    seen: list[tuple[PreTrainedModel, list[Tensor]]] = []
    update = TrainState.update

    def note(learner: TrainState, max_grad_norm: float) -> float:
        gradients = [weight.grad.clone() for weight in learner.weights if weight.grad is not None]
        seen.append((deepcopy(learner.student), gradients))
        return update(learner, max_grad_norm)

    monkeypatch.setattr(TrainState, "update", note)
    rows = setting.join()
    reports = list(
        setting.train(rows, student, batch_size=BATCH_SIZE, micro_batch_size=micro_batch_size)
    )
    assert [report.n_examples for report in reports].count(12) == 1
    reference = Reference(setting, split)
    order = rows.order(setting.options(batch_size=BATCH_SIZE), 0)
    for report, batch, (student_then, gradients) in zip(reports, order.batches, seen, strict=True):
        exact = student_then.double()
        exact.set_attn_implementation("eager")
        exact.zero_grad()
        total = reference.total(exact, batch.tolist())
        total.backward()
        assert report.loss == pytest.approx(float(total.detach()), rel=2e-6)
        wanted = [weight.grad for weight in exact.parameters() if weight.grad is not None]
        assert len(wanted) == len(gradients) > 10
        largest = max(float(gradient.abs().max()) for gradient in wanted)
        for found, gradient in zip(gradients, wanted, strict=True):
            assert (found - gradient).abs().max() < 1e-5 * largest
