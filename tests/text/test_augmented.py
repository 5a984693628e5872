"""A token table joined with its variants: whose rows, in which order, under which digest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.tasks import task_of
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.joined import AUGMENTED, with_augmented, with_augmented_last
from pipeline.text.tokens import UNLABELLED, Tokens, open_tokens

Join = Callable[[Tokens, Tokens], Tokens]

both_ways = pytest.mark.parametrize("join", [with_augmented, with_augmented_last])


def make_variants(tokens: Tokens, checkpoint: Path, folder: Path, n_copies: int) -> Tokens:
    """Return the table of a table's variants."""
    folder.mkdir()
    settings = AugmentationSettings(n_copies=n_copies)
    augment(tokens, task_of(tokens), load_tokenizer(checkpoint), settings, folder)
    return open_tokens(folder)


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory, tokens: Tokens, checkpoint: Path) -> Tokens:
    """Variants of the rows of `tokens`."""
    return make_variants(tokens, checkpoint, tmp_path_factory.mktemp("variants") / "table", 3)


def test_variants_come_behind_the_training_rows(tokens: Tokens, variants: Tokens) -> None:
    """Catches ids, labels or texts of one row that are read as another's after the join."""
    joined = with_augmented(tokens, variants)
    assert list(joined.splits) == list(tokens.splits)
    train, first, second = (part.splits["train"] for part in (joined, tokens, variants))
    assert len(second) > 90 and len(train) == len(first) + len(second)
    for index in range(len(train)):
        source, place = (first, index) if index < len(first) else (second, index - len(first))
        for found, expected in zip(train.row(index), source.row(place), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert train.keys[index] == source.keys[place]
        assert train.lengths[index] == source.lengths[place]
        assert train.table["text"][index] == source.table["text"][place]
    assert train.labels.tolist() == [*first.labels.tolist(), *[UNLABELLED] * len(second)]
    for split in ("validation", "test"):
        assert joined.splits[split] is tokens.splits[split]


def test_variants_to_capture_come_last(tokens: Tokens, variants: Tokens) -> None:
    """Catches variants among the rows of students that never read them."""
    joined = with_augmented_last(tokens, variants)
    assert list(joined.splits) == [*tokens.splits, AUGMENTED]
    assert all(joined.splits[name] is split for name, split in tokens.splits.items())
    assert joined.splits[AUGMENTED] is variants.splits["train"]


@both_ways
def test_the_digest_is_of_both(
    join: Join, tokens: Tokens, variants: Tokens, checkpoint: Path, tmp_path: Path
) -> None:
    """Catches a student that is not trained again on other variants."""
    other = make_variants(tokens, checkpoint, tmp_path / "other", 4)
    digests = [join(tokens, table).digest for table in (variants, other)]
    assert len({tokens.digest, variants.digest, *digests}) == 4
    assert join(tokens, variants).digest == digests[0]


@both_ways
def test_no_variants_leave_the_table_as_it_is(
    join: Join, tokens: Tokens, checkpoint: Path, tmp_path: Path
) -> None:
    """Catches a view, and so a training, that changes though augmentation is off."""
    assert join(tokens, make_variants(tokens, checkpoint, tmp_path / "none", 0)) is tokens


@both_ways
def test_variants_of_another_table_are_refused(
    join: Join, tokens: Tokens, variants: Tokens, even_tokens: Tokens
) -> None:
    """Catches a test text in training, by variants that were drawn before the data changed."""
    with pytest.raises(DataError, match=r"have source .* Run 'dvc repro augment'\.") as caught:
        join(even_tokens, variants)
    assert tokens.digest[:12] in str(caught.value)
    assert even_tokens.digest[:12] in str(caught.value)
    with pytest.raises(DataError, match=r"have source None, the table has"):
        join(tokens, tokens)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokenizer": "0" * 64}, "have tokenizer 000000000000, the table has"),
        ({"labels": ("a", "b")}, r"have labels \('a', 'b'\), the table has \('negative'"),
        ({"max_length": 8}, "have max_length 8, the table has 64"),
    ],
)
def test_variants_of_another_kind_are_refused(
    tokens: Tokens, variants: Tokens, changed: dict[str, object], message: str
) -> None:
    """Catches rows in other token ids, or cut elsewhere, among those of the table."""
    with pytest.raises(DataError, match=message):
        with_augmented(tokens, replace(variants, **changed))  # type: ignore[arg-type]


def test_a_missing_table_names_its_own_stage(tmp_path: Path) -> None:
    """Catches a user who is sent to the stage that does not make the table."""
    with pytest.raises(DataError, match=r"Run 'dvc repro augment'"):
        open_tokens(tmp_path, made_by="augment")
