"""CoNLL's text format: every word with its own columns, and nothing that is no word."""

from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.tasks import TASKS
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.files import read_table

SENTENCES = (
    "-DOCSTART- -X- -X- O\n\n"
    "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n# NN B-NP O\n\n\n"
    "-DOCSTART- -X- -X- O\n\n"
    "Peter NNP B-NP B-PER\r\nBlackburn NNP I-NP I-PER"
)


def test_sentences_are_rows_of_words(tmp_path: Path) -> None:
    """Catches marks of documents as words, the last sentence lost, and sentences joined."""
    path = tmp_path / "train.conll"
    path.write_text("\ufeff" + SENTENCES, encoding="utf-8", newline="")
    table = read_table(path)
    assert table.column_names == ["0", "1", "2", "3"]
    assert table["0"].to_pylist() == [["EU", "rejects", "#"], ["Peter", "Blackburn"]]
    assert table["3"].to_pylist() == [["B-ORG", "O", "O"], ["B-PER", "I-PER"]]


COMMENTED = (
    "# id 5f0 domain=en\n# text: the film\n{0}\nwas _ _ O\n\n"
    "# id\t5f1\nthe _ _ O\n# _ _ O\n\n"
    "# _ _ B-X\nthe _ _ O\n\n"
    "# newdoc\n\n"
    "#warm _ _ B-X\n"
)


@pytest.mark.parametrize("first", ["film _ _ B-X", "# _ _ B-X", "#film _ _ B-X"])
def test_comments_are_no_words(tmp_path: Path, first: str) -> None:
    """Catches a comment with as many parts as words have columns read as a word, a real word `#`
    left out, and hashtags taken for comments."""
    path = tmp_path / "train.conll"
    path.write_text(COMMENTED.format(first), encoding="utf-8")
    table = read_table(path)
    word = first.split(" ")[0]
    assert table["0"].to_pylist() == [[word, "was"], ["the", "#"], ["#", "the"], ["#warm"]]
    assert table["3"].to_pylist() == [["B-X", "O"], ["O", "O"], ["B-X", "O"], ["B-X"]]


def test_words_of_two_columns_may_be_a_hash(tmp_path: Path) -> None:
    """Catches '# O' taken for a comment, and comments of two parts for words."""
    path = tmp_path / "train.conll"
    path.write_text("# 12\nthe O\n\n# O\n1 O\n\n# x\ty\n# O\nend O\n", encoding="utf-8")
    assert read_table(path)["0"].to_pylist() == [["the"], ["#", "1"], ["#", "end"]]


CONLLU = (
    "# sent_id = s0\n# text = vom Film\n"
    "1-2\tvom\t_\t_\n1\tvon\tvon\tADP\n2\tdem\tder\tDET\n3\tFilm\tFilm\tNOUN\n"
    "3.1\twar\tsein\tAUX\n\n"
    "# text = #\n1\t#\t#\tSYM\n# a comment\twith\tfour\tparts\n2\tder\tder\tDET\n"
)


def test_conllu_has_words_alone(tmp_path: Path) -> None:
    """Catches words read twice, once within another, and words that nobody wrote."""
    path = tmp_path / "train.conll"
    path.write_text(CONLLU, encoding="utf-8")
    table = read_table(path)
    assert table["1"].to_pylist() == [["von", "dem", "Film"], ["#", "der"]]
    assert table["3"].to_pylist() == [["ADP", "DET", "NOUN"], ["SYM", "DET"]]


def test_numbers_are_words_where_they_do_not_count(tmp_path: Path) -> None:
    """Catches `1-2` and `3.1` left out of a text that is made of numbers."""
    path = tmp_path / "train.conll"
    path.write_text("5 B\n1-2 O\n3.1 O\n4 O\n", encoding="utf-8")
    assert read_table(path)["0"].to_pylist() == [["5", "1-2", "3.1", "4"]]


def test_a_document_ends_a_sentence(tmp_path: Path) -> None:
    """Catches the last sentence of one document that goes on in the next."""
    path = tmp_path / "train.conll"
    path.write_text("the O\n-DOCSTART- O\nfilm O\n", encoding="utf-8")
    assert read_table(path)["0"].to_pylist() == [["the"], ["film"]]


@pytest.mark.parametrize(
    "word", ["a\u2028b", "\u00a0", "10\u3000000", "\u200b", "😀", "שלום", "\x85"]
)
def test_odd_characters_stay_in_their_word(tmp_path: Path, word: str) -> None:
    """Catches a line or a word that is broken at a character that Python calls white space."""
    path = tmp_path / "train.conll"
    path.write_text(f"{word} B-X\nend O\n", encoding="utf-8")
    assert read_table(path)["0"].to_pylist() == [[word, "end"]]


def test_tabs_leave_spaces_to_the_words(tmp_path: Path) -> None:
    """Catches a word with a space in it that shifts the columns of a line."""
    path = tmp_path / "train.conll"
    path.write_text("New York\tB-LOC\nis\tO\n", encoding="utf-8")
    assert read_table(path)["0"].to_pylist() == [["New York", "is"]]


def test_columns_are_chosen_by_number(tmp_path: Path) -> None:
    """Catches numbers refused as names of columns, and tags read from another column."""
    for split in ("train", "dev"):
        (tmp_path / f"{split}.conll").write_text(SENTENCES, encoding="utf-8")
    settings = DataSettings.model_validate_json(
        f'{{"source": "files", "path": "{tmp_path}", "columns": {{"text": 0, "label": 3}}}}'
    )
    corpus = read_corpus(settings, TASKS["token_classification"].read)
    assert corpus["validation"]["text"].to_pylist() == ["EU rejects #", "Peter Blackburn"]
    assert corpus["train"]["label"].to_pylist() == [["B-ORG", "O", "O"], ["B-PER", "I-PER"]]
    assert TASKS["token_classification"].label_names(corpus, None) == [
        "B-ORG",
        "B-PER",
        "I-PER",
        "O",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a O\nb\n", r"train\.conll, line 2: 1 columns, the lines before have 2"),
        (b"a O\n# a comment within\n", r"line 2: 4 columns, .* 2\..* stands above a sentence"),
        (b"a O\n\n#warm\n", r"line 3: 1 columns, .* 2\..* A comment begins with '# '"),
        (b"# only\n# comments here\n", r"line 2: 3 columns|it has no words"),
        (b"-DOCSTART- O\n\n", r"train\.conll cannot be read as CONLL: it has no words"),
        (b"", r"it has no words"),
        ("é O".encode("latin-1"), r"train\.conll, line 1: byte 0 of the file, 0xe9, is not UTF-8"),
    ],
)
def test_what_is_no_conll_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Catches a traceback, and a word that takes the tag of another."""
    path = tmp_path / "train.conll"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)
