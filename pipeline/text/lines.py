"""Lines of text files, whatever Unicode encoding they are in: what all readers of text share.

UTF-8 with or without a byte order mark, and UTF-16 and UTF-32 with one, are read. Other encodings
are refused, for they cannot be told apart.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import DataError

_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LINE_END = re.compile("\r\n|\n|\r")


def read_lines(path: Path) -> Iterator[str]:
    r"""Yield the lines of a file with their ends: `\n`, `\r\n` or `\r`, as in Python's text mode.

    Other characters that Unicode calls ends of lines stay within theirs.

    Raises:
        DataError: the file is not in one of the encodings above, or has a NUL character.
    """
    with path.open("rb") as file:
        start = file.read(4)
    encoding = next((_ENCODINGS[mark] for mark in _ENCODINGS if start.startswith(mark)), "utf-8")
    try:
        with path.open(encoding=encoding, newline="") as lines:
            for number, line in enumerate(lines, start=1):
                if "\0" in line:
                    raise DataError(
                        f"{path}, line {number} has a NUL character, as damaged files do, and "
                        "UTF-16 without a byte order mark. Take it out, or save the file as UTF-8."
                    )
                yield line
    except UnicodeDecodeError:
        raise _undecodable(path, encoding) from None


def read_text(path: Path) -> str:
    """Return all of a file's text, with the ends of lines as they are in the file.

    Raises:
        DataError: as `read_lines`.
    """
    return "".join(read_lines(path))


def count_line_ends(text: str) -> int:
    """Return how often `read_lines` ends a line within a text."""
    return len(_LINE_END.findall(text))


def split_lines(text: str) -> list[str]:
    """Return the lines of a text without their ends, where `read_lines` ends them."""
    return _LINE_END.split(text)


def _undecodable(path: Path, encoding: str) -> DataError:
    """Return the error of a file that is not in its encoding, with the first place."""
    content = path.read_bytes()
    name = encoding.removesuffix("-sig")  # with it, places are counted from behind the mark
    try:
        content.decode(name)
    except UnicodeDecodeError as error:
        line = 1 + count_line_ends(content[: error.start].decode(name, errors="ignore"))
        remedy = (
            "Save the file as UTF-8, such as with 'iconv -f CP1252 -t UTF-8 OLD > NEW' if it is in "
            "CP1252."
            if name == "utf-8"
            else "The file is damaged or cut off; write it again, as UTF-8."
        )
        return DataError(
            f"{path}, line {line}: byte {error.start} of the file, 0x{content[error.start]:02x}, "
            f"is not {name.upper()}. {remedy}"
        )
    raise AssertionError("the file changed while it was read")
