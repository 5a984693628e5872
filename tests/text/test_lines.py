"""Encodings of text files: read alike by all readers, or refused with the place."""

from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.text.files import read_table

FILES = {
    "train.csv": "text,label\nné 😀,x\n",
    "train.tsv": "text\tlabel\nné 😀\tx\n",
    "train.jsonl": '{"text": "né 😀", "label": "x"}\n',
    "train.txt": "né 😀\n",
    "train.conll": "né\tO\n😀\tO\n",
}
TEXTS: dict[str, object] = dict.fromkeys(FILES, "né 😀") | {"train.conll": ["né", "😀"]}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("name", FILES)
def test_marks_of_byte_order_say_the_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    """Catches a reader of one kind that refuses what others read, or a mark in the first name."""
    path, content = tmp_path / name, FILES[name]
    if encoding in ("utf-16-le", "utf-16-be"):  # Python writes no mark with these
        content = "\ufeff" + content
    path.write_bytes(content.encode(encoding))
    table = read_table(path)
    column = "0" if name == "train.conll" else "text"
    assert table[column].to_pylist() == [TEXTS[name]]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}\nna\xefve".encode("latin-1"), r"line 2: byte 5 of the file, 0xef, is not UTF-8\. S"),
        (b"\xef\xbb\xbf{}\r\n\x93b\x94", r"line 2: byte 7 of the file, 0x93, is not UTF-8\. Save"),
        ("{}\né".encode("utf-16")[:-1], r"line 2: byte 8 .* is not UTF-16\. The file is damaged"),
        ("{}\nb".encode("utf-16-le"), r"line 1 has a NUL character"),
        (b"{}\nc\0d\n", r"line 2 has a NUL character, .* Take it out, or save the file as UTF-8"),
    ],
)
def test_other_encodings_are_refused_with_the_place(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """Catches texts with holes, a parser's traceback, and an error that leaves the place open."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}, line")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_ended", [True, False])
@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl", "train.txt"])
def test_lines_end_as_on_any_machine(
    tmp_path: Path, name: str, end: str, *, is_ended: bool
) -> None:
    """Catches the ends of another system's lines in texts, and the last row of a file lost."""
    path, content = tmp_path / name, FILES[name] + FILES[name].splitlines()[-1]
    path.write_bytes((content.replace("\n", end) + end * is_ended).encode())
    assert read_table(path)["text"].to_pylist() == ["né 😀"] * 2
