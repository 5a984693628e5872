"""How many word pieces' logits are computed and held at a time."""

from pathlib import Path

import pytest
import torch

from pipeline.signals.top_logits import top_logits
from pipeline.tasks import TASKS
from pipeline.teacher.architecture import teacher_architecture
from pipeline.teacher.work import batches_by_length, most_targets
from tests.piece_tokens import N_PIECES, make_masked_teacher


def test_a_batch_bounds_its_logits() -> None:
    """Catches a batch whose logits of a vocabulary take all memory, or that is for ever full."""
    lengths, targets = [10, 10, 10, 8, 8, 3], [4, 4, 0, 4, 0, 3]
    batches = list(batches_by_length(lengths, 1000, targets, 8))
    assert batches == [[0, 1, 2], [3, 4, 5]]
    assert list(batches_by_length(lengths, 1000, targets, 1)) == [[one] for one in range(6)]
    # a decoder's tokens are padded, too
    assert list(batches_by_length([2, 2, 1], 12, [9, 1, 6], 100)) == [[0], [1, 2]]
    assert list(batches_by_length(lengths, 1000)) == [[0, 1, 2, 3, 4, 5]]


def test_what_a_batch_may_have_is_half_a_gigabyte(tmp_path: Path) -> None:
    """Catches a bound in numbers where bytes are meant."""
    teacher = teacher_architecture(make_masked_teacher(tmp_path), TASKS["masked_lm"])
    assert teacher.n_labels == N_PIECES
    large = teacher.model_copy(update={"n_labels": 50_000})
    assert most_targets(large) * 50_000 * 4 <= 512 * 2**20 < (most_targets(large) + 1) * 200_000
    assert most_targets(teacher.model_copy(update={"n_labels": 2**30})) == 1


def test_slices_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a slice that is left out, or put in another place."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 40, generator=generator, dtype=torch.bfloat16)
    right = torch.arange(11)
    whole = top_logits(logits, right, 5)
    monkeypatch.setattr("pipeline.signals.top_logits._SLICE_BYTES", 4 * 40 * 3)
    for mine, theirs in zip(top_logits(logits, right, 5), whole, strict=True):
        assert torch.equal(mine, theirs)
    exact = logits.float()
    assert whole.values.dtype == whole.log_sum_exp.dtype == torch.float32
    torch.testing.assert_close(whole.log_sum_exp, exact.logsumexp(1))
    assert torch.equal(whole.target, exact[right, right])
