"""A labelled corpus that needs no download: sentences of installed libraries' docstrings.

The label of a sentence is the library whose source holds it; the names of the libraries
are masked, so that topic and manner have to tell. Sentences are found by rule, not by a
parser of natural language: now and then one is a fragment or two in one. The corpus is a
function of the installed versions, and of which of their files this Python can parse.
"""

import ast
import importlib.util
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError

DEFAULT_LIBRARIES = ("huggingface_hub", "matplotlib", "networkx", "pandas", "scipy", "sklearn")

ALIASES: Mapping[str, tuple[str, ...]] = {
    "accelerate": ("hugging face", "hf"),
    "datasets": ("hugging face", "hf"),
    "huggingface_hub": ("hugging face", "hf"),
    "matplotlib": ("mpl", "plt", "pyplot", "pylab"),
    "networkx": ("nx",),
    "numpy": ("np",),
    "pandas": ("pd",),
    "pyarrow": ("apache arrow", "pa"),
    "scipy": ("sp",),
    "sentence_transformers": ("sbert", "hugging face", "hf"),
    "sklearn": ("scikit",),
    "sympy": ("sp",),
    "torch": ("aten", "caffe2"),
    "transformers": ("hugging face", "hf"),
}
"""What a library is called where its import name is not a part of it (as it is of PyTorch).
A space stands for a space, a hyphen, an underscore, a dot, or nothing."""

PLACEHOLDER = "library"

_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
_SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string())])
_N_WORDS = range(7, 61)
_MIN_LETTER_SHARE = 0.8

_SKIPPED_PART = re.compile(
    r"_?tests?|test_.*\.py|conftest\.py|_?vendor\w*|_?extern(als?)?|third_party"
    r"|array_api_(compat|extra)|cobyqa|pyprima"
)
_OWNERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = (*_OWNERS, ast.If, ast.Try, ast.ExceptHandler, ast.With)

_ADMONITION = re.compile(
    r"\.\. (?:admonition|attention|caution|hint|important|note|seealso|tip|warning)::\s*"
)
_VERSION_NOTE = re.compile(r"\.\. (?:deprecated|version\w+)::")
_OTHER_DIRECTIVE = re.compile(r"\.\.(?: |$)")
_UNDERLINE_OR_ROW = re.compile(r"[\W_]{3,}|[|+].*[|+]|.*\S {3,}\S.*")

_BULLET = re.compile(r"(?:[-*+•]|\(?(?:\d{1,2}|[a-z])[.)])\s+")
_ENTRY = re.compile(r":[^:`]+:(?:\s+|$)|[\w.*`'\"-]+(?: ?\([^)]*\))?:(?:\s+|$)")
_TYPED_ENTRY = re.compile(r"\S.{0,60}? : ")

_HAS_END = re.compile(r"[.!?]")
_HAS_MARKUP = re.compile(r"[`*\[]")
_MARKUP = (
    (re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)"), r"\1"),  # [words](url)
    (re.compile(r":[\w:+-]+:(?=`)"), ""),  # the role of :role:`words`
    (re.compile(r"`([^`<]+?)\s*<[^>`]*>`"), r"`\1`"),  # `words <target>`
    (re.compile(r"\[(`[^`]*`)\]"), r"\1"),  # [`name`]
    (re.compile(r"`~(?:\w*\.)*([^`]*)`"), r"\1"),  # `~module.name`
    (re.compile(r"`[!.]([^`]+)`"), r"\1"),  # `.name`, `!name`
    (re.compile(r"(\[[^\]\s]+\])_(?!\w)"), r"\1"),  # [footnote mark]_
    (re.compile(r"`+(?:__?(?!\w))?"), ""),
    (re.compile(r"\*\*?(?=[\w'\"(])(?<!\w\*)(?<!\w\*\*)"), ""),  # *emphasis
    (re.compile(r"\*\*?(?!\w)(?:(?<=[\w'\").]\*)|(?<=[\w'\").]\*\*))"), ""),  # emphasis*
)
_SENTENCE_END = re.compile(
    r" (?=[\"'(]?[A-Z])(?<=[.!?] )(?<!\b[A-Z]\. )(?<!\b(?:al|cf|vs|Eq|No|pp|Dr)\. )"
    r"(?<!\b(?:e\.g|i\.e|Fig|Ref|Sec)\. )"
)
_SENTENCE = re.compile(r"[\"'(]?[A-Z].*[.!?][\"')]?")
_NOT_PROSE = re.compile(r"://|www\.|->|%\(|>>>|\w::|[\\{}|]|\S{40}")
_LETTERS = re.compile(r"[^\W\d_]+")


class _Row(NamedTuple):
    text: str
    label: str
    split: str


def read_docstrings(libraries: Sequence[str]) -> dict[str, pa.Table]:
    """Return the sentences of the libraries' docstrings, split by source file.

    `libraries` are import names; nothing is imported. Returned are the splits `train`,
    `validation` and `test` (about 80, 10 and 10 of 100 files) with the columns `text`
    and `label`. Rows are in the order of a hash, the libraries taking turns until they
    run out, so any head of a split is a fair sample of files and as balanced as it can
    be. No sentence occurs twice, or with two labels, whatever its case and numbers.

    Raises:
        DataError: a library is not installed, or its docstrings hold no sentence.

    The cost is that of parsing all the sources: seconds for each library.
    """
    folders = _find_folders(libraries)
    names = _compile_names(libraries)
    rows: dict[str, _Row | None] = {}
    for library, folder in folders.items():
        for row in _read_library(library, folder, names):
            key = _letters(row.text)
            first = rows.setdefault(key, row)
            if first is not None and first.label != library:
                # Kept under either label it would be noise: nothing in it tells which.
                rows[key] = None
    kept = {key: row for key, row in rows.items() if row is not None}
    _check_each_has_rows(libraries, kept.values())
    return {split: _mix(kept, split) for split in _SHARES}


def library_files(libraries: Sequence[str]) -> dict[str, int]:
    """Return the files that the libraries' docstrings are read from, with their sizes in bytes.

    Raises:
        DataError: a library is not installed.
    """
    return {
        name: path.stat().st_size
        for library, folder in _find_folders(libraries).items()
        for name, path in _source_files(library, folder).items()
    }


def hide_labels(train: pa.Table, n_labelled: int, seed: int) -> pa.Table:
    """Return the rows with null in place of all labels but `n_labelled`.

    `train` has the columns that `read_docstrings` returns. The libraries take turns until they
    run out, each with its sentences in the order of a hash of `seed` and text: the labels that
    are kept are balanced, and with a larger number those of a smaller one are kept again.

    Raises:
        DataError: there are fewer sentences.
    """
    if n_labelled > len(train):
        raise DataError(
            f"data.docstrings.n_labelled is {n_labelled:,}, but there are {len(train):,} training "
            "sentences. Lower it, or raise data.docstrings.max_sentences.train."
        )
    rows_of_label: defaultdict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for row, (text, label) in enumerate(zip(*train.to_pydict().values(), strict=True)):
        rows_of_label[label].append((_hash(f"{seed} {text}"), row))
    turns = sorted(
        (turn, digest, row)
        for rows in rows_of_label.values()
        for turn, (digest, row) in enumerate(sorted(rows))
    )
    is_kept = np.zeros(len(train), dtype=bool)
    is_kept[[row for _, _, row in turns[:n_labelled]]] = True
    labels = pc.if_else(pa.array(is_kept), train["label"], None)
    return train.set_column(train.schema.get_field_index("label"), "label", labels)


def _find_folders(libraries: Sequence[str]) -> dict[str, Path]:
    folders = {}
    for library in libraries:
        # A dotted name would import its parents.
        spec = importlib.util.find_spec(library) if library.isidentifier() else None
        if spec is not None and spec.submodule_search_locations and spec.origin:
            folders[library] = Path(spec.origin).parent
    missing = [library for library in libraries if library not in folders]
    if missing:
        raise DataError(
            f"data.docstrings.libraries: no installed package {', '.join(map(repr, missing))}. "
            "Install it with 'pip install', or remove it from data.docstrings.libraries."
        )
    return folders


def _compile_names(libraries: Iterable[str]) -> re.Pattern[str]:
    """Return what finds the libraries' names in a text.

    A name of five letters or more takes with it the word that it is a part of; a shorter
    one would be a part of unrelated words, and stands alone.
    """
    names = {name for library in libraries for name in (library, *ALIASES.get(library, ()))}
    long = {name for name in names if len(name) >= 5}
    word = r"[^\W_]"
    options = [f"{word}*(?:{_any_of(long)}){word}*"] if long else []
    options += [f"(?:{_any_of(names - long)})(?!{word})"] if names - long else []
    return re.compile(f"(?<!{word})(?:{'|'.join(options)})", re.IGNORECASE)


def _any_of(names: Iterable[str]) -> str:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return "|".join("[ ._-]?".join(re.split("[ _]", name)) for name in longest_first)


def _read_library(library: str, folder: Path, names: re.Pattern[str]) -> Iterator[_Row]:
    """Yield the library's rows; of a sentence in many files, always the same file's first."""
    paths = _source_files(library, folder)
    for name in sorted(paths, key=_hash):
        split = _choose_split(name)
        for docstring in _find_docstrings(paths[name]):
            for sentence in _find_sentences(docstring):
                yield _Row(names.sub(PLACEHOLDER, sentence), library, split)


def _source_files(library: str, folder: Path) -> dict[str, Path]:
    return {
        f"{library}/{path.relative_to(folder).as_posix()}": path
        for path in folder.rglob("*.py")
        if not any(map(_SKIPPED_PART.fullmatch, path.relative_to(folder).parts))
    }


def _choose_split(name: str) -> str:
    train, validation = _SHARES["train"], _SHARES["validation"]
    position = int.from_bytes(_hash(name), "big") / 2**64
    if position < train:
        return "train"
    return "validation" if position < train + validation else "test"


def _find_docstrings(path: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        # Where warnings are errors, an odd escape in a string would make a file unparsable.
        warnings.simplefilter("ignore")
        try:
            pending: list[ast.AST] = [ast.parse(path.read_bytes())]
        except (SyntaxError, ValueError):  # the latter for a null byte, before Python 3.11.4
            return
    while pending:
        node = pending.pop()
        if isinstance(node, _OWNERS):
            yield ast.get_docstring(node) or ""
        pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, _BLOCKS)]


def _find_sentences(docstring: str) -> Iterator[str]:
    for paragraph in _join_paragraphs(_blank_code(docstring)):
        if not _HAS_END.search(paragraph):
            continue
        if _HAS_MARKUP.search(paragraph):
            for pattern, words in _MARKUP:
                paragraph = pattern.sub(words, paragraph)
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            if _is_prose(sentence):
                yield sentence


def _is_prose(sentence: str) -> bool:
    if len(sentence.split()) not in _N_WORDS or _NOT_PROSE.search(sentence):
        return False
    if _SENTENCE.fullmatch(sentence) is None:
        return False
    n_letters = sum(map(str.isalpha, sentence))
    return n_letters >= _MIN_LETTER_SHARE * len(sentence.replace(" ", ""))


def _blank_code(docstring: str) -> Iterator[str]:
    """Yield the lines, with an empty one in place of each line that is not prose."""
    block: int | None = None  # a skipped block lasts while lines are indented more than this
    is_doctest = is_fenced = False
    for line in docstring.splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text and block is not None and indent <= block:
            block = None
        is_doctest = text.startswith(">>>") or (is_doctest and text != "")
        is_fence = text.startswith("```")
        is_fenced ^= is_fence
        if is_fence or is_fenced or is_doctest or block is not None:
            yield ""
        elif admonition := _ADMONITION.match(text):
            yield f"{' ' * indent}- {text[admonition.end() :]}"
        elif _VERSION_NOTE.match(text):
            yield ""
        elif _OTHER_DIRECTIVE.match(text):
            yield ""
            block = indent
        else:
            yield "" if _UNDERLINE_OR_ROW.fullmatch(text) else line
            if text.endswith("::"):
                block = indent


def _join_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Yield runs of lines that belong together by their indentation.

    A list item or a described parameter begins a new run, which takes in the lines that
    are indented more; anything else ends where the indentation changes. What is no
    sentence (a heading, a parameter and its type) thus stays alone, and is dropped later.
    """
    run: list[str] = []
    indent, is_hanging = 0, False
    for line in lines:
        text = line.strip()
        line_indent = len(line) - len(line.lstrip())
        is_deeper = is_hanging and line_indent > indent
        rest, is_item = _strip_item(text)
        if is_item or not text or not ((line_indent == indent and not is_hanging) or is_deeper):
            yield " ".join(run)
            run, is_hanging = [], is_item
            indent = line_indent
        elif is_deeper:
            indent, is_hanging = line_indent, False
        run.append(rest)
    yield " ".join(run)


def _strip_item(text: str) -> tuple[str, bool]:
    """Return the text without its bullet and parameter name, and whether it had any.

    Of `name : type` nothing is left: the description stands below.
    """
    rest = text[bullet.end() :] if (bullet := _BULLET.match(text)) else text
    if _TYPED_ENTRY.match(rest):
        return "", True
    rest = rest[entry.end() :] if (entry := _ENTRY.match(rest)) else rest
    return rest, rest != text


def _mix(rows: Mapping[str, _Row], split: str) -> pa.Table:
    n_of_label: defaultdict[str, int] = defaultdict(int)
    order = []
    for digest, key in sorted((_hash(key), key) for key, row in rows.items() if row.split == split):
        label = rows[key].label
        order.append((n_of_label[label], digest, key))
        n_of_label[label] += 1
    chosen = [rows[key] for _, _, key in sorted(order)]
    columns = [[row.text for row in chosen], [row.label for row in chosen]]
    return pa.table(columns, schema=_SCHEMA)


def _check_each_has_rows(libraries: Sequence[str], rows: Iterable[_Row]) -> None:
    found = {row.label for row in rows}
    silent = [library for library in libraries if library not in found]
    if silent:
        raise DataError(
            f"data.docstrings.libraries: the docstrings of {', '.join(map(repr, silent))} hold no "
            "sentence. Leave it out."
        )


def _letters(text: str) -> str:
    """Return what must differ for two sentences to be two."""
    return " ".join(_LETTERS.findall(text.lower()))


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()
