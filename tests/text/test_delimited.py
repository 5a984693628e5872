"""CSV and TSV files: quotes, delimiters and blanks as their writer meant them, or refused."""

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.text.files import read_table

ROWS = [("a film", "pos"), ("though dull", "neg"), ("a story", "pos"), ("bit cold", "neg")]


def rows_of(path: Path) -> list[tuple[str, ...]]:
    """Return the rows of a file."""
    return [tuple(row.values()) for row in read_table(path).to_pylist()]


def write(path: Path, content: str) -> Path:
    """Write a file as it is."""
    path.write_text(content, encoding="utf-8", newline="")
    return path


def refused(path: Path) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    ("header", "body", "line"),
    [
        ("label,text", 'pos,"a film\nneg,dull\npos,cold\n', 4),
        ("text,label", '"a film,pos\ndull,neg\n', 4),
        ("text,label", 'a film,"pos\ndull,neg\n', 4),
        ("text,label", '"one\ntwo",pos\n"a film,pos\ndull,neg\n', 6),
        ("text,label", '"one\ntwo","pos\ndull,neg\n', 5),
    ],
)
def test_an_open_quote_at_the_end_is_refused(
    tmp_path: Path, header: str, body: str, line: int
) -> None:
    """Catches all rows behind a quote that become one text."""
    names = header.split(",")
    good = [",".join(row if names[0] == "text" else row[::-1]) for row in ROWS[:2]]
    content = "\n".join([header, *good]) + "\n" + body
    message = refused(write(tmp_path / "train.csv", content))
    assert message.startswith(f", line {line}: the quote before '")
    end = 3 + body.count("\n")
    assert f"opens a field that is still open at the end of the file, line {end}. Corr" in message
    assert 'is doubled ("")' in message


@pytest.mark.parametrize(
    ("header", "body"),
    [
        # The next quoted field ends what the odd quote opens, and text follows.
        ("label,text", 'pos,"a film\nneg,dull\nneg,"so, cold"\n'),
        ("text,label", '"a film,pos\ndull,neg\n"so, cold",neg\n'),
        ("label,text", '"pos","a film\n"neg","dull"\n'),
        # A line ends with a quote that belongs to its text.
        ("label,text", 'pos,"a film\nneg,dull\nneg,the screen is 5"\n'),
        ("label,text", 'pos,"a film\nneg,the screen is 5"\n'),
        ("text,label", '"a film,pos\ndull,neg\nthe screen is 5",neg\n'),
        ("text,label", '"a film,pos\r\ndull,neg\r\nthe screen is 5",neg\r\n'),
        ("text,label", '"a film,pos\n\ndull,neg\nthe screen is 5",neg\n'),
        # An empty field that follows does not end it.
        ("label,text", 'pos,"a film\nneg,""\nneg,the screen is 5"\n'),
        # Fields of numbers, and no value that another row has.
        ("text,score", '"a film,0.25\ndull,0.5\nthe screen is 5",1.5\n'),
        ("id,text", '21,"a film\n22,dull\n23,the screen is 5"\n'),
        # Neither, but five lines like rows, and no other text of several lines.
        ("en,de", '"a film,ein Film\ndull,fade\ncold,kalt\nugly,faul\nit is 5",es ist 5\n'),
    ],
)
def test_a_quote_that_swallows_rows_is_refused(tmp_path: Path, header: str, body: str) -> None:
    """Catches rows that are joined to one text because another quote happens to close it."""
    values = {"text": "t{}", "label": "neg", "score": "{}.5", "id": "{}", "en": "e{}", "de": "d{}"}
    good = [
        ",".join(values[name] for name in header.split(",")).replace("{}", str(number))
        for number in range(1, 9)
    ]
    good[1] = good[1].replace("neg", "pos")
    path = write(tmp_path / "train.csv", "\n".join([header, *good]) + "\n" + body + good[0] + "\n")
    message = refused(path)
    assert message.startswith(", line 10: the quote before 'a film")
    assert "Correct it there: a quoted field ends with a quote before the delimiter" in message


@pytest.mark.parametrize(
    "row",
    [
        ("pos", "one line\nand another"),
        ("pos", "He said, go.\nThen, stop."),
        ("pos", "first, one\n\nsecond, two\nthird, three\nfourth, four\nfifth, five"),
        ("pos", "neg\npos"),
        ("pos", "ends with one\n"),
        ("pos", "\nbegins with one"),
        ("pos", 'a "film\nneg", "so'),
        ("pos", "It cost\n1,000 of 2,000"),
        ("pos", "a,b"),
        ("pos", 'five" here, six" there'),
    ],
)
@pytest.mark.parametrize("is_text_first", [True, False])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_texts_of_several_lines_stay(
    tmp_path: Path, row: tuple[str, str], quoting: int, *, is_text_first: bool
) -> None:
    """Catches a good file refused: prose has commas, and words that are labels, too."""
    step = -1 if is_text_first else 1
    rows = [(label, text)[::step] for text, label in ROWS] + [row[::step]]
    path = tmp_path / "train.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=quoting)  # type: ignore[arg-type]
        writer.writerows([("label", "text")[::step], *rows])
    assert rows_of(path) == rows


def test_yes_at_the_start_of_a_line_is_not_a_label(tmp_path: Path) -> None:
    """Catches prose refused because its lines begin with a word that is a label, and a comma."""
    content = 'label,text\nYes,a film\nNo,a story\nYes,"I agree.\nNo, never."\n'
    assert rows_of(write(tmp_path / "train.csv", content))[-1] == ("Yes", "I agree.\nNo, never.")


def test_tables_within_texts_stay(tmp_path: Path) -> None:
    """Catches a text with rows of its own refused, where other texts have several lines too."""
    table = "name,age\nBob,3\nEve,4\nAnn,5\nTom,6"
    rows = [("what is it", f"Here it is\n{table}"), ("and now", "one\ntwo"), ("so", "done")]
    path = tmp_path / "train.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", "answer"), *rows])
    assert rows_of(path) == rows


@pytest.mark.parametrize(
    ("field", "follows"),
    [
        ('"Alien" is good', "is good,pos"),
        ('""so he said', "so he said,pos"),
        ('"He said \\"no\\" to me"', 'no\\" to me"'),
    ],
)
def test_what_follows_a_closing_quote_is_refused(tmp_path: Path, field: str, follows: str) -> None:
    """Catches quotes that vanish from a text."""
    message = refused(write(tmp_path / "train.csv", f"text,label\na,neg\n{field},pos\n"))
    assert message.startswith(", line 3: the quote before ")
    assert f"{follows}" in message and "follows there" in message


def test_quotes_within_fields_are_characters(tmp_path: Path) -> None:
    """Catches a good file refused: only at the start of a field a quote opens one."""
    content = 'text,label\nso "Alien" is good,pos\n5" screen,neg\nlast",pos\n"",neg\n"a""",pos\n'
    path = write(tmp_path / "train.csv", content)
    texts = ['so "Alien" is good', '5" screen', 'last"', "", 'a"']
    assert [text for text, _ in rows_of(path)] == texts


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("row", "n_fields"), [("only", "1 field"), ("a{}b{}c", "3 fields"), ("a{}b{}", "3 fields")]
)
def test_rows_of_another_width_are_named_by_line(
    tmp_path: Path, suffix: str, row: str, n_fields: str
) -> None:
    """Catches a text that is cut at its comma, and a number that is not the file's line."""
    delimiter, name = {"csv": (",", "commas"), "tsv": ("\t", "tabs")}[suffix]
    content = "text{}label\n\na film{}pos\n" + row + "\n"
    message = refused(write(tmp_path / f"train.{suffix}", content.replace("{}", delimiter)))
    assert message.startswith(f", line 4: {n_fields}, separated by {name}, but the header has 2: ")
    assert "'text', 'label'" in message


def test_a_row_of_several_lines_is_named_by_all(tmp_path: Path) -> None:
    """Catches an odd quote that is reported as a comma too many."""
    content = 'label,text\nneg,dull\npos,"a film\nneg,size 5", good\n'
    assert refused(write(tmp_path / "train.csv", content)).startswith(
        ", lines 3 to 4, joined by a quote: 3 fields"
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("has_line", [True, False])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_header_says_what_delimits_fields(
    tmp_path: Path, delimiter: str, quoting: int, *, has_line: bool
) -> None:
    """Catches `text;label` as the name of one column, and `sep=;` as a header."""
    rows = [('a, b; c | d "e"\t', "pos"), ("plain", "neg")]
    path = tmp_path / "train.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        if has_line:
            file.write(f"sep={delimiter}\r\n")
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
        writer.writerows([("text", "label"), *rows])
    assert read_table(path).column_names == ["text", "label"]
    assert rows_of(path) == rows


@pytest.mark.parametrize("line", ["sep=,", '"sep=,"', "SEP=,"])
def test_a_separator_line_counts_as_a_line(tmp_path: Path, line: str) -> None:
    """Catches numbers of lines that are one off below `sep=`."""
    path = write(tmp_path / "train.csv", f"{line}\ntext,label\na,b\nc\n")
    assert refused(path).startswith(", line 4: 1 field")


def test_other_delimiters_are_characters(tmp_path: Path) -> None:
    """Catches a single column, or one delimited by commas, that is cut at something else."""
    path = write(tmp_path / "train.csv", "text,label; note\na; b,pos\n")
    assert rows_of(path) == [("a; b", "pos")]
    path = write(tmp_path / "train.csv", 'text\na; b\nc|d\n"e, f"\n')
    assert rows_of(path) == [("a; b",), ("c|d",), ("e, f",)]


@pytest.mark.parametrize(
    "content",
    [
        "text, label\na film, pos\ndull, neg\n",
        "text, label\na film,pos\ndull,neg\n",
        "text , label\na film , pos\ndull , neg \n",
        '"text", "label"\n"a film", "pos"\ndull, "neg"\n',
        "text; label\na film; pos\ndull; neg\n",
    ],
)
def test_blanks_around_names_go_with_those_around_values(tmp_path: Path, content: str) -> None:
    """Catches a column ` label` that is not found, a label ` pos`, and quotes behind a blank."""
    path = write(tmp_path / "train.csv", content)
    assert read_table(path).column_names == ["text", "label"]
    assert rows_of(path) == [("a film", "pos"), ("dull", "neg")]


def test_blanks_stay_where_the_header_has_none(tmp_path: Path) -> None:
    """Catches texts that are changed; and quotes that count as text because of a blank."""
    path = write(tmp_path / "train.csv", 'text,label\n a film ,pos\nb," ""c"""\nd, "e" f\n')
    assert rows_of(path) == [(" a film ", "pos"), ("b", ' "c"'), ("d", ' "e" f')]
    message = refused(write(path, 'text,label\na,pos\nb, "neg"\n'))
    assert message.startswith(""", line 3: a blank stands before the quoted field ' "neg"'""")


def test_odd_names_of_columns(tmp_path: Path) -> None:
    """Catches the unnamed index that pandas writes refused."""
    assert read_table(write(tmp_path / "a.csv", ",text\n0,a\n")).column_names == ["", "text"]
    assert read_table(write(tmp_path / "b.csv", "text,text\na,b\n")).column_names == ["text"] * 2
    assert len(read_table(write(tmp_path / "c.csv", "text,label"))) == 0
    assert "'a\\nb', 'c'" in refused(write(tmp_path / "e.csv", '"a\nb",c\n1\n'))
    for content in ("", "\n\n", "\ufeff"):
        assert refused(write(tmp_path / "d.csv", content)).startswith(" is empty. Its first line")


def test_long_texts_are_read(tmp_path: Path) -> None:
    """Catches the csv module's limit of 131,072 characters, and one that stays lifted."""
    before = csv.field_size_limit()
    text = "word " * 50_000
    assert rows_of(write(tmp_path / "train.csv", f"text,label\n{text},pos\n")) == [(text, "pos")]
    assert csv.field_size_limit() == before


def test_rows_of_several_batches_keep_their_order(tmp_path: Path) -> None:
    """Catches rows lost where batches meet, and a swallowed row looked up in another batch."""
    lines = [f"text {number},{number % 2}" for number in range(25_001)]
    path = write(tmp_path / "train.csv", "\n".join(["text,label", *lines]))
    assert rows_of(path) == [tuple(line.split(",")) for line in lines]
    lines[15_000:15_002] = ['"odd,1', 'end",0']
    write(path, "\n".join(["text,label", *lines]))
    assert refused(path).startswith(", line 15002: the quote before 'odd,1'")


@pytest.mark.parametrize(
    "lines",
    [
        ['"text"\t"label"', '"a film"\t"pos"', '"dull"\t"neg"'],
        ["text\tlabel", '"he said ""dull"" to me"\tpos', "a film\tneg"],
        ["text\tlabel", '"a film"\tpos', '"dull"\tneg'],
        ["text\tlabel", '"Well, no"\tpos', "a film\tneg", '"Oh, so, yes"\tpos'],
        ["text\tlabel", '"two\nlines"\tpos', "a film\tneg"],
        ["text\tlabel", '"two\tfields"\tpos', "a film\tneg"],
    ],
)
def test_a_tsv_of_quoted_fields_is_unquoted(tmp_path: Path, lines: list[str]) -> None:
    """Catches quotes that pandas, R and Excel write around fields and that count as text."""
    path = write(tmp_path / "train.tsv", "\n".join(lines))
    expected = list(csv.reader(path.read_text(encoding="utf-8").splitlines(True), delimiter="\t"))
    assert [list(row) for row in rows_of(path)] == expected[1:]
    assert read_table(path).column_names == ["text", "label"]


@pytest.mark.parametrize(
    "lines",
    [
        ['"so he said\tpos', '5" screen, "good"\tneg'],
        ['"I love it"\tpos', "a film\tneg"],
        ['"Well, no"\tpos', "a film\tneg"],
        ['"Well, no"\tpos', '"Oh, so"\tneg', "a film, too\tneg"],
        ['"he said ""dull"""\tpos', '5" screen\tneg'],
        ['a film\t"', '"dull\tneg'],
    ],
)
def test_quotes_of_other_tsv_files_are_characters(tmp_path: Path, lines: list[str]) -> None:
    """Catches a text of GLUE that loses its quotes, or swallows rows."""
    path = write(tmp_path / "train.tsv", "\n".join(["text\tlabel", *lines]))
    assert rows_of(path) == [tuple(line.split("\t")) for line in lines]


def test_a_tsv_that_fits_neither_way_is_refused(tmp_path: Path) -> None:
    """Catches an odd quote reported where a line lacks its tab, and a quoted file's odd quote."""
    path = write(tmp_path / "train.tsv", 'text\tlabel\n"so he said\na film\tneg\n')
    assert refused(path).startswith(", line 2: 1 field, separated by tabs")
    write(path, 'text\tlabel\n"he said ""no"""\tpos\n"a\nfilm\tpos\ndull\tneg\n')
    assert ", line 3: 1 field" in refused(path)
    write(path, '"text"\t"label"\n"a"\t"pos\n')
    assert refused(path).startswith(", line 2: the quote before 'pos' opens a field that is still")


Texts = st.text(st.sampled_from('ab ,;\t|"\né'), max_size=8).map(lambda text: f"t{text}.")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.tuples(Texts, Texts), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read(
    tmp_path: Path, texts: list[tuple[str, str]], delimiter: str, quoting: int, end: str
) -> None:
    """Catches any text that a proper writer writes and that comes back changed."""
    rows = [(str(number), one, other) for number, (one, other) in enumerate(texts)]
    path = tmp_path / "train.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
        writer.writerows([("id", "text", "other"), *rows])
    assert rows_of(path) == rows
