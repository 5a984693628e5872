"""Tags of entities: of one scheme, or refused before anything is trained."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.core.settings import parse_section
from pipeline.tasks import TASKS
from pipeline.tasks.data_faults import tag_faults
from pipeline.tasks.tag_scheme import check_tags, stray_beginnings, tag_fault
from pipeline.tasks.task import TaskSettings
from pipeline.text.corpus import DataSettings, read_corpus
from tests.text.conftest import Write
from tests.text.made_corpus import settings_of

GOOD = [
    ("O", "B-PER", "I-PER"),
    ("O", "I-PER"),
    ("O", "B", "I"),
    ("O", "B-PER", "I-PER", "E-PER", "S-PER"),
    ("B-PER", "I-PER", "L-PER", "U-PER", "O"),
    ("O", "B-PER", "M-PER", "E-PER", "S-PER"),
    ("O", "B-per-son", "I-per-son"),
]
BAD = [
    (("O", "PER"), "'PER' does not say where an entity begins"),
    (("O", "B_PER"), "'B_PER' does not say"),
    (("O", "b-per"), "'b-per' does not say"),
    (("O", "B-"), "'B-' does not say"),
    (("O", "B-PER", "E-PER", "L-PER"), "'L-PER' is of another scheme"),
    (("O", "B-PER", "I"), "'I' has no type, and 'B-PER' has one"),
    (("NOUN", "VERB"), r"'NOUN' does not say.*parts of speech, set task\.metrics to \[accuracy"),
    (("0", "1"), r"'0' does not say.*Name the numbers under data\.labels"),
]


@pytest.mark.parametrize("names", GOOD)
def test_tags_of_one_scheme_are_read(names: tuple[str, ...]) -> None:
    """Catches a scheme that is in use refused."""
    assert tag_fault(names) is None


@pytest.mark.parametrize(("names", "message"), BAD)
def test_other_labels_of_words_are_refused(names: tuple[str, ...], message: str) -> None:
    """Catches labels without entities, found out after the teacher was trained."""
    fault = tag_fault(names)
    assert fault is not None
    assert re.search(message, str(fault))


def test_a_tag_is_named_with_its_sentence_and_word(tmp_path: Path) -> None:
    """Catches a message that leaves its reader to search for the tag."""
    lines = "the O\nfilm O\n\nwas O\nwarm {0}\n"
    for split in ("train", "dev"):
        (tmp_path / f"{split}.conll").write_text(lines.format("PER"), encoding="utf-8")
    settings = settings_of(tmp_path, columns={"text": 0, "label": 1})
    corpus = read_corpus(settings, TASKS["token_classification"].read)
    names = TASKS["token_classification"].label_names(corpus, None)
    with pytest.raises(DataError, match=r"^train: row 2, word 2 'warm': 'PER' does not say"):
        check_tags(corpus, names, None)
    check_tags(corpus, ["O", "B-PER"], {"PER": "B-PER", "O": "O"})
    with pytest.raises(DataError, match=r"^train: row 2, word 2 'warm': 'X' does not say"):
        check_tags(corpus, ["O", "X"], {"PER": "X", "O": "O"})
    with pytest.raises(DataError, match=r"^data\.labels: 'X' does not say"):
        check_tags(corpus, ["O", "X"], {"PER": "O", "O": "O", "0": "X"})


@pytest.mark.parametrize(
    ("sentences", "line"),
    [
        ([["O", "B-A", "I-A"], ["B-A", "B-A", "O"]], ""),
        ([["O", "I-A", "I-A"], ["I-A", "B-A", "I-B"]], ""),  # IOB1
        (
            [["B-A", "I-A", "O"], ["O", "I-A", "I-A"]],
            "1 entities .* 1 with B- .*row 2, word 2, 'I-",
        ),
        ([["B-A", "I-B", "O"], ["B-A", "O", "O"]], "1 entities .* 2 with B- .*row 1, word 2, 'I-B"),
        ([["B", "O", "I"], ["O", "O", "O"]], "1 entities .*row 1, word 3, 'I'"),
    ],
)
def test_entities_without_a_beginning_are_said(
    write_jsonl: Write, sentences: list[list[str]], line: str
) -> None:
    """Catches tags that were cut and that nobody hears of, and IOB1 said to be wrong."""
    rows = [{"text": ["films", "was", "warm"], "label": tags} for tags in sentences]
    tokens = write_jsonl("token_classification", rows).tokens
    found = stray_beginnings(tokens.splits["train"], tokens.labels)
    assert bool(found) == bool(line)
    assert re.search(line, found)


@pytest.mark.parametrize(
    ("kind", "metrics", "labels", "n_faults"),
    [
        ("token_classification", None, ["NOUN", "VERB"], 1),
        ("token_classification", ("entity_f1",), {"0": "O", "1": "PER"}, 1),
        ("token_classification", ("accuracy",), ["NOUN", "VERB"], 0),
        ("token_classification", None, ["O", "B-PER"], 0),
        ("token_classification", None, None, 0),
        ("classification", None, ["NOUN", "VERB"], 0),
    ],
)
def test_names_are_checked_before_anything_is_read(
    kind: Any, metrics: Any, labels: Any, n_faults: int
) -> None:
    """Catches data.labels that a metric makes nothing of, found by a stage."""
    data = parse_section(DataSettings, {"source": "files", "labels": labels}, "data")
    faults = tag_faults(data, TaskSettings(kind=kind, metrics=metrics))
    assert len(faults) == n_faults
    assert all(fault.startswith("data.labels: '") for fault in faults)
