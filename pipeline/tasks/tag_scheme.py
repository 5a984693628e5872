"""Tags that mark where entities begin and end, as `B-PER`, `I-PER` and `O` do.

Schemes: IOB1 and IOB2 (BIO), IOBES, BILOU, and those with M for the middle of an entity; tags
without types, `B`, `I` and `O`, are of one type. An `I-` that follows no entity of its type begins
one, as in conlleval, so that sequences of tags of one scheme always have a meaning.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.tasks.label_faults import as_number
from pipeline.text.tokens import IGNORED, UNLABELLED, TokenSplit

OUTSIDE = "O"
_TAG = re.compile(r"([BIESLUMW])(?:-(.+))?")
_SCHEMES = tuple(map(frozenset, ("BIES", "BILU", "BMES", "BMEW")))
_ALIASES = {"L": "E", "U": "S", "W": "S", "M": "I"}


class TagFault(NamedTuple):
    """Why some names are no tags."""

    tag: str
    """The first that does not fit."""
    reason: str

    def __str__(self) -> str:
        remedy = (
            "Write tags as B-PER, I-PER and O (E- and S-, or L- and U-, beside them), or as B, I "
            "and O alone"
        )
        if as_number(self.tag) is not None:
            remedy = "Name the numbers under data.labels, in their order, such as [O, B-PER, I-PER]"
        return (
            f"{self.reason}, and entity_f1 needs tags of entities. {remedy}; or, where labels are "
            "no entities, such as parts of speech, set task.metrics to [accuracy, macro_f1]"
        )


def tag_fault(names: Sequence[str]) -> TagFault | None:
    """Return why label names are not the tags of one scheme; None where they are."""
    letters: set[str] = set()
    typed: str | None = None
    bare: str | None = None
    for name in names:
        if name == OUTSIDE:
            continue
        found = _TAG.fullmatch(name)
        if found is None:
            return TagFault(name, f"'{name}' does not say where an entity begins")
        letters.add(found[1])
        if not any(letters <= scheme for scheme in _SCHEMES):
            return TagFault(name, f"'{name}' is of another scheme than the tags before it")
        typed, bare = (typed, name) if found[2] is None else (name, bare)
        if typed is not None and bare is not None:
            return TagFault(name, f"'{bare}' has no type, and '{typed}' has one")
    return None


def as_iobes(tag: str) -> str:
    """Return a tag of any scheme with the letters of IOBES."""
    return _ALIASES.get(tag[0], tag[0]) + tag[1:]


def check_tags(
    corpus: Mapping[str, pa.Table], names: Sequence[str], mapping: Mapping[str, str] | None
) -> None:
    """Refuse labels of words of which a metric of entities can make nothing.

    `mapping` is what `data.labels` says, the name by the value in the source.

    Raises:
        DataError: names the tag, the first sentence and word that has it, and what to do.
    """
    fault = tag_fault(names)
    if fault is None:
        return
    for split, table in corpus.items():
        for row, tags in enumerate(table["label"].to_pylist(), start=1):
            for place, tag in enumerate(tags or (), start=1):
                if tag is not None and (mapping or {}).get(tag, tag) == fault.tag:
                    word = table["words"][row - 1][place - 1].as_py()
                    raise DataError(f"{split}: row {row}, word {place} '{word}': {fault}.")
    raise DataError(f"data.labels: {fault}.")


def stray_beginnings(split: TokenSplit, names: Sequence[str]) -> str:
    """Return a line on entities that begin with I- where others begin with B-; else nothing.

    In IOB1, whose B- stands right behind an entity of the same type alone, all others do.
    """
    n_stray, n_begun, first, tags = 0, 0, "", [as_iobes(name) for name in names]
    for row, (start, stop) in enumerate(pairwise(split.label_offsets.tolist()), start=1):
        labels = split.labels[start:stop]
        before = OUTSIDE
        for place, label in enumerate(labels[labels != IGNORED].tolist(), start=1):
            now = OUTSIDE if label == UNLABELLED else tags[label]
            goes_on = before[0] in "BI" and before[1:] == now[1:]
            if now[0] == "I" and not goes_on:
                n_stray += 1
                first = first or f"row {row}, word {place}, '{names[label]}'"
            n_begun += now[0] == "B" and (before == OUTSIDE or before[1:] != now[1:])
            before = now
    if not n_stray or not n_begun:
        return ""
    return (
        f"{n_stray:,} entities begin with I- and {n_begun:,} with B- (first: {first}); each counts "
        "as an entity of its own"
    )
