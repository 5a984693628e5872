"""Real rows of public data sets, where this machine has them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.settings import parse_params, parse_section
from pipeline.project.presets import apply_preset, find_preset
from pipeline.tasks import TASKS
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokens import Tokens, open_tokens
from tests.imports import ROOT

DATA = Path(os.environ.get("DECANT_PUBLIC_DATA", "public-data"))
"""A folder with a folder of Parquet files for each data set."""


@pytest.fixture
def prepare(tmp_path: Path, tokenizer: Any) -> Any:
    """Return a function that makes the token table of a data set as a preset says."""

    def prepare(preset: str, folder: str) -> Tokens:
        place = DATA / folder
        if not place.is_dir():
            pytest.skip(f"{place} is not here; DECANT_PUBLIC_DATA names the folder above it")
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        params = parse_params(apply_preset(text, find_preset(preset), str(place))[0])
        settings = parse_section(
            DataSettings, params["data"] | {"max_rows": {"train": 300, "validation": 50}}, "data"
        )
        task, mapping = TASKS[params["task"]["kind"]], settings.names_by_value
        corpus = read_corpus(settings, task.read)
        names = task.label_names(corpus, mapping)
        write_tokens(corpus, task, names, mapping, Tokenising(tokenizer, 64), tmp_path)
        return open_tokens(tmp_path)

    return prepare


def test_conll2003(prepare: Any) -> None:
    """Catches tags by another order than the Hub's numbers, and words without one."""
    tokens = prepare("conll2003", "conll2003")
    split = tokens.splits["train"]
    assert (tokens.labels[0], tokens.labels[5]) == ("O", "B-LOC")
    assert len(split) == 300
    words = sum(len(text.split(" ")) for text in split.table["text"].to_pylist())
    labelled = int((split.labels >= 0).sum())
    assert 0.95 * words < labelled <= words  # a few are cut at 64 tokens


def test_race(prepare: Any) -> None:
    """Catches answers that are not one of four, and blanks that are left."""
    split = prepare("race/middle", "race_middle").splits["train"]
    assert split.n_examples == 300
    assert set(np.diff(split.first_rows)) == {4}
    assert split.labels.reshape(-1, 4).sum(1).tolist() == [1] * 300
    assert not any(" _ " in text for text in split.table["text_pair"].to_pylist())


def test_wikitext(prepare: Any) -> None:
    """Catches blank lines between paragraphs refused, and a heading that is alone in its row."""
    split = prepare("wikitext-2", "wikitext2_subset").splits["train"]
    texts = split.table["text"].to_pylist()
    assert set(split.lengths[:-1]) <= {63, 64} and len(split) > 300
    assert all(text.strip() for text in texts)
    # The tokenizer knows the words of film reviews: "the", "was", "and", "a" and little else.
    assert 0 < split.n_targets.sum() < 0.15 * split.lengths.sum()


def test_mrpc(prepare: Any) -> None:
    """Catches classes the other way round than in GLUE: 2,474 of 3,668 pairs are equivalent."""
    tokens = prepare("glue/mrpc", "mrpc")
    assert tokens.labels == ("not_equivalent", "equivalent")
    share = tokens.splits["train"].labels.mean()
    assert abs(share - 2474 / 3668) < 0.11  # 4 standard errors of 300 rows
