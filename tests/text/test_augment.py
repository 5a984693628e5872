"""Variants of texts: what may change in one, what it depends on, and which are kept."""

import re
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.text.augment import (
    AugmentationSettings,
    mask_words,
    sample_n_gram,
    variants,
)

MASK = "[MASK]"
SENTENCE = "the film was a bit dull though the acting was warm"


def drawn(**values: Any) -> AugmentationSettings:
    """Return settings that draw 20 copies, unless told otherwise."""
    return AugmentationSettings.model_validate({"n_copies": 20, **values})


def generator() -> np.random.Generator:
    """Return a seeded generator."""
    return np.random.default_rng(0)


@given(st.text(), st.floats(0, 1), st.integers(0, 9))
def test_masking_keeps_everything_but_words(text: str, probability: float, seed: int) -> None:
    """Catches words that are lost, joined or changed to something else than the mask."""
    masked = mask_words(text, probability, MASK, np.random.default_rng(seed))
    before, after = text.split(), masked.split()
    assert len(after) == len(before)
    assert all(new in (old, MASK) for old, new in zip(before, after, strict=True))
    assert re.findall(r"\s+", masked) == re.findall(r"\s+", text)
    assert mask_words(text, 0, MASK, np.random.default_rng(seed)) == text
    everything = mask_words(text, 1, MASK, np.random.default_rng(seed)).split()
    assert everything == [MASK] * len(before)


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_masking_rate(probability: float) -> None:
    """Catches a probability that is not the share of masked words, or is one per text."""
    n_words = 20_000
    masked = mask_words("film " * n_words, probability, MASK, generator()).split()
    # Four standard deviations of a binomial share: exceeded once in 16,000 seeds.
    bound = 4 * sqrt(probability * (1 - probability) / n_words)
    assert masked.count(MASK) / n_words == pytest.approx(probability, abs=bound)


@given(st.text(), st.integers(1, 7), st.integers(0, 9))
def test_n_grams_are_neighbouring_words(text: str, largest: int, seed: int) -> None:
    """Catches words out of order or with gaps, and n-grams that are empty or too long."""
    n_gram = sample_n_gram(text, largest, np.random.default_rng(seed))
    words, chosen = text.split(), n_gram.split()
    assert n_gram in text
    assert len(chosen) <= largest
    assert bool(chosen) == bool(words)
    starts = range(len(words) - len(chosen) + 1)
    assert any(words[start : start + len(chosen)] == chosen for start in starts)


def test_n_grams_have_every_length_and_place() -> None:
    """Catches a longest n-gram or a last word that is never drawn."""
    draw = generator()
    n_grams = [sample_n_gram("a b c d e f g", 5, draw).split() for _ in range(500)]
    counts = np.bincount([len(n_gram) for n_gram in n_grams], minlength=6)
    assert counts[0] == 0 and counts[1:].sum() == 500
    # Four standard deviations of a binomial count of 500 draws at 1/5.
    np.testing.assert_allclose(counts[1:], 100, atol=4 * sqrt(500 * 0.2 * 0.8))
    assert {n_gram[0] for n_gram in n_grams if len(n_gram) == 1} == set("abcdefg")
    assert {n_gram[-1] for n_gram in n_grams if len(n_gram) == 5} == set("efg")


def test_the_share_of_n_grams() -> None:
    """Catches an n-gram taken always, never, or of one word in place of one text."""
    settings = drawn(n_copies=1, mask_probability=0.0, n_gram_probability=0.25, largest_n_gram=1)
    texts = [f"{SENTENCE} {number}" for number in range(2000)]
    share = sum(bool(variants((text, None), settings, MASK)) for text in texts) / len(texts)
    assert share == pytest.approx(0.25, abs=4 * sqrt(0.25 * 0.75 / len(texts)))  # as above


def test_variants_are_distinct_and_not_the_row() -> None:
    """Catches a teacher that labels one text twice, and a variant that nothing has changed."""
    few = variants(("the film", None), drawn(n_copies=200), MASK)
    assert len(few) == len(set(few))
    assert {text for text, _ in few} == {
        "[MASK] film",
        "the [MASK]",
        "[MASK] [MASK]",
        "the",
        "film",
        MASK,
    }


def test_variants_depend_on_seed_text_and_copy() -> None:
    """Catches variants that change with every run, or copies and seeds that are all alike."""
    row = (SENTENCE, None)
    one = variants(row, drawn(), MASK)
    assert one == variants(row, drawn(), MASK)
    assert len(one) > 10
    assert set(one) != set(variants(row, drawn(seed=1), MASK))
    more = variants(row, drawn(n_copies=40), MASK)
    assert more[: len(one)] == one, "more copies keep the first ones, and what is captured"
    other = variants((SENTENCE.replace("film", "story"), None), drawn(), MASK)
    assert {text.replace("story", "film") for text, _ in other} != {text for text, _ in one}


def test_texts_of_a_pair_are_varied_in_turn() -> None:
    """Catches a second text that is never varied, or both that always are."""
    row = (SENTENCE, SENTENCE.upper())
    settings = drawn(n_copies=30, mask_probability=0.5, n_gram_probability=0.0)
    turns = variants(row, settings, MASK)
    assert len(turns) == 30
    changes = [(first != row[0], second != row[1]) for first, second in turns]
    assert changes == [(True, False), (False, True), (True, True)] * 10


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_text_without_words_has_no_variants(text: str) -> None:
    """Catches a traceback, and empty rows for the teacher."""
    settings = drawn(mask_probability=1.0, n_gram_probability=1.0)
    assert variants((text, None), settings, MASK) == []
    assert {second for _, second in variants(("the film", text), settings, MASK)} == {text}


def test_one_word_and_other_scripts() -> None:
    """Catches words cut inside, or a text that is not in Latin letters left out."""
    settings = drawn(mask_probability=0.5)
    assert variants(("film", None), settings, MASK) == [(MASK, None)]
    assert variants(("电影很好", None), settings, MASK) == [(MASK, None)]
    words = {"Ｚoë", "смотрела", "🎬", "café\u0301", MASK}
    found = variants(("Ｚoë\u2003смотрела\u00a0🎬  café\u0301", None), settings, MASK)
    assert len(found) > 5
    assert {word for text, _ in found for word in text.split()} == words


def test_settings_that_change_nothing_are_refused() -> None:
    """Catches an augmentation that silently adds no row."""
    values = {"n_copies": 3, "mask_probability": 0, "n_gram_probability": 0}
    with pytest.raises(SettingsError, match="n_copies is 3, but"):
        parse_section(AugmentationSettings, values, "augmentation")
    parse_section(AugmentationSettings, values | {"n_copies": 0}, "augmentation")
