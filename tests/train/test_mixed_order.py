"""Labelled and unlabelled rows in every batch, in a ratio."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.settings import parse_section
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.text.tokens import UNLABELLED, Tokens
from pipeline.train.batches import JoinedSplit
from pipeline.train.order import EpochOrder, global_order, labelled_order, mixed_order
from pipeline.train.settings import TrainingSettings, check_batches
from tests.train.conftest import MakeSetting
from tests.train.test_parts import partly_labelled

N_ROWS, BATCH_SIZE = 100, 8
IS_LABELLED = np.arange(N_ROWS) % 4 == 0
LENGTHS = np.random.default_rng(1).integers(4, 60, N_ROWS)


def order(epoch: int = 0, share: float = 0.5, *, group_by_length: bool = False) -> EpochOrder:
    return mixed_order(
        LENGTHS,
        BATCH_SIZE,
        7,
        epoch,
        group_by_length=group_by_length,
        is_labelled=IS_LABELLED,
        unlabelled_share=share,
    )


@pytest.mark.parametrize("group_by_length", [False, True])
@pytest.mark.parametrize(("share", "n_unlabelled"), [(0.5, 4), (0.75, 6), (0.01, 1), (0.99, 7)])
def test_every_batch_has_its_share(
    share: float, n_unlabelled: int, *, group_by_length: bool
) -> None:
    """Catches a ratio that holds on average only, and labelled rows seen twice or never."""
    batches = order(share=share, group_by_length=group_by_length).batches
    labelled = [batch[IS_LABELLED[batch]] for batch in batches]
    assert all(
        len(batch) - len(own) == n_unlabelled for batch, own in zip(batches, labelled, strict=True)
    )
    assert sorted(np.concatenate(labelled)) == sorted(np.flatnonzero(IS_LABELLED))
    assert sum(len(own) < BATCH_SIZE - n_unlabelled for own in labelled) <= 1


def test_unlabelled_rows_come_evenly() -> None:
    """Catches rows that come again before others came at all."""
    batches = order(share=0.99).batches  # 25 batches of 7, of 75 unlabelled rows
    drawn = np.concatenate([batch[~IS_LABELLED[batch]] for batch in batches])
    _, counts = np.unique(drawn, return_counts=True)
    assert len(counts) == 75 and set(counts) == {2, 3}


def test_epochs_differ_and_repeat_by_their_number() -> None:
    """Catches an order that a resumed training would not find again."""
    first, again, second = (np.concatenate(order(epoch).batches) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_lengths_are_grouped_in_both_kinds() -> None:
    """Catches batches in which long unlabelled rows pad short labelled ones."""

    def padding(batches: list[NDArray[np.int64]]) -> int:
        return int(sum((LENGTHS[batch].max() - LENGTHS[batch]).sum() for batch in batches))

    assert padding(order(group_by_length=True).batches) < padding(order().batches) / 2


def test_a_student_trains_on_mixed_batches(make_setting: MakeSetting, even_tokens: Tokens) -> None:
    """Catches steps that are counted for all rows when an epoch is one of the labelled ones."""
    setting = make_setting(hard_label={}, soft_target={})
    setting.tokens = even_tokens_with(even_tokens)
    rows = setting.join()
    n_labelled = int((setting.tokens.splits["train"].labels >= 0).sum())
    reports = list(setting.train(rows, unlabelled_share=0.5, batch_size=4))
    assert len(reports) == -(-n_labelled // 2)
    n_examples = rows.count_examples(setting.options(unlabelled_share=0.5, batch_size=4))
    assert n_examples == sum(report.n_examples for report in reports)


@pytest.mark.parametrize("group_by_length", [False, True])
def test_labelled_rows_alone_come_as_if_there_were_no_others(*, group_by_length: bool) -> None:
    """Catches an order by which unlabelled rows change what a student of labels alone learns."""
    of_all = labelled_order(
        LENGTHS, BATCH_SIZE, 7, 2, group_by_length=group_by_length, is_labelled=IS_LABELLED
    ).batches
    of_labelled = global_order(
        LENGTHS[IS_LABELLED], BATCH_SIZE, 7, 2, group_by_length=group_by_length
    ).batches
    rows = np.flatnonzero(IS_LABELLED)
    assert len(of_all) == len(of_labelled) == 4
    for batch, expected in zip(of_all, of_labelled, strict=True):
        assert np.array_equal(batch, rows[expected])


def test_a_student_trains_on_labelled_rows_alone(
    make_setting: MakeSetting, even_tokens: Tokens
) -> None:
    """Catches batches of unlabelled rows, from which labels alone teach nothing."""
    setting = make_setting(hard_label={})
    setting.tokens = even_tokens_with(even_tokens)
    rows = setting.join()
    split = setting.tokens.splits["train"]
    settings = setting.options(unlabelled_share=0, batch_size=4)
    reports = list(setting.train(rows, unlabelled_share=0, batch_size=4))
    n_labelled = int(split.has_label.sum())
    assert 0 < n_labelled < len(split)
    assert sum(report.n_examples for report in reports) == n_labelled
    assert rows.count_batches(settings) == len(reports) == -(-n_labelled // 4)
    assert rows.count_examples(settings) == n_labelled
    drawn = np.concatenate(rows.order(settings, 0).batches)
    assert split.has_label[drawn].all() and len(set(drawn)) == n_labelled


def even_tokens_with(tokens: Tokens) -> Tokens:
    """Return a table most of whose training rows are unlabelled."""
    split = partly_labelled(tokens.splits["train"])
    return Tokens(
        splits={**tokens.splits, "train": split},
        label_kind=tokens.label_kind,
        labels=tokens.labels,
        tokenizer=tokens.tokenizer,
        max_length=tokens.max_length,
        digest=tokens.digest,
    )


def test_without_unlabelled_rows_it_is_refused(make_setting: MakeSetting) -> None:
    """Catches a share of nothing that is taken for a training on labels alone."""
    rows: JoinedSplit = make_setting(hard_label={}).join()
    with pytest.raises(DataError, match=r"^of 60 training examples 60 are labelled, so none"):
        rows.count_batches(TrainingSettings(unlabelled_share=0.5))


def test_labelled_rows_alone_may_be_all_rows_but_not_none(
    make_setting: MakeSetting, even_tokens: Tokens
) -> None:
    """Catches a setting for partly labelled data that wholly labelled data cannot have, and an
    epoch of no batch."""
    settings = TrainingSettings(unlabelled_share=0, batch_size=8)
    rows = make_setting(soft_target={}).join()
    assert rows.count_batches(settings) == -(-len(rows) // 8)
    setting = make_setting(soft_target={})
    split = even_tokens.splits["train"]
    nothing = np.full_like(split.labels, UNLABELLED)
    setting.tokens = replace(
        even_tokens, splits={**even_tokens.splits, "train": replace(split, labels=nothing)}
    )
    with pytest.raises(DataError, match=r"^of 60 training examples none is labelled, and with"):
        setting.join().count_batches(settings)


def test_labelled_rows_alone_may_come_one_by_one() -> None:
    """Catches a refusal of batches that need not be shared."""
    objectives = parse_section(ObjectivesSettings, {"hard_label": {}}, "objectives")
    settings = TrainingSettings(unlabelled_share=0, batch_size=1)
    check_batches(objectives, settings, n_processes=1)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"shuffle": "block"}, "which shuffle: block does not"),
        ({"shuffle": "block", "unlabelled_share": 0.0}, "which shuffle: block does not"),
        ({"batch_size": 1}, "a batch of 1 cannot be shared"),
    ],
)
def test_what_cannot_be_mixed_is_refused(training: dict[str, object], message: str) -> None:
    """Catches a share that is ignored without a word."""
    objectives = parse_section(ObjectivesSettings, {"hard_label": {}}, "objectives")
    settings = TrainingSettings.model_validate({"unlabelled_share": 0.5, **training})
    with pytest.raises(SettingsError, match=message):
        check_batches(objectives, settings, n_processes=1)
