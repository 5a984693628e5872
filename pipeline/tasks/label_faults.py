"""Labels that would be other classes than their user means, refused with what to do.

Among them are lists that became text, as where a table of lists is written as CSV.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from pipeline.core.errors import DataError

_MISSING = frozenset(
    ("#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null")
)
"""What pandas and R write, and read, where a table has nothing. `none` is a label like others."""
_MARKS = frozenset((Decimal(-1), Decimal(-100)))
"""What data sets have in the place of the number of a class where there is none."""
_MOST_NUMBERS = 20
"""Classes that are numbers with a fraction; where there are more, they are scores."""
_N_UNKNOWN_SHOWN = 5
_N_KNOWN_SHOWN = 20

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_WHOLE = re.compile(r"(-?\d+)\.0+")

_ENDS = {"[": "]", "(": ")", "{": "}"}
_VALUE = r"(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|true|false|none|null|nan|\.\.\.)"
_VALUES = re.compile(rf"[\s,;\[\](){{}}]*(?:{_VALUE}[\s,;\[\](){{}}]*)*", re.IGNORECASE)
_CALL = re.compile(r"[A-Za-z_][\w.]*\(\s*([\[({].*[\])}])\s*(?:,\s*\w+=.*)?\)", re.DOTALL)
"""Such as `array([1, 2], dtype=int64)`."""
_INTERVAL = re.compile(rf"[\[(]\s*{_VALUE}\s*,\s*{_VALUE}\s*[\])]", re.IGNORECASE)

KEEP_LISTS = (
    "Keep lists in JSON lines or Parquet, as pandas does with "
    "to_json('train.jsonl', orient='records', lines=True)"
)

_DIFFERENCE = "in blanks, invisible characters or the way in which characters are encoded"


def as_number(label: str) -> Decimal | None:
    """Return the number that a label is, if it is one."""
    return Decimal(label) if _NUMBER.fullmatch(label) else None


def canonical(label: str) -> str:
    """Return what labels have in common that a reader takes for the same.

    Unicode's compatibility form (NFKC), without characters that are not seen, with one space in
    the place of all white space, and without the zeros of `1.0`. Upper and lower case differ.
    """
    text = "".join(filter(_is_seen, unicodedata.normalize("NFKC", label)))
    text = " ".join(text.split())
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _is_seen(character: str) -> bool:
    is_selector = "\ufe00" <= character <= "\ufe0f"  # of the variants of one character
    return not is_selector and (
        character.isspace() or unicodedata.category(character) not in ("Cc", "Cf")
    )


def check_alike(names: Sequence[str], where: Callable[[str], str]) -> None:
    """Refuse labels that are equal to a reader and not to a machine.

    `where` says in how many rows a label is, and in which.

    Raises:
        DataError: with two of them, and what to do.
    """
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(canonical(name), name)
        if other != name:
            both = json.dumps({one: canonical(name) for one in (other, name)})
            raise DataError(
                f"train: the labels {_shown(other, name)} ({where(other)}) and "
                f"{_shown(name, other)} ({where(name)}) differ only {_DIFFERENCE}; they would be "
                "two classes. Write them alike, or name every label under data.labels and give "
                f"both one name there: {both}."
            )


def _shown(label: str, beside: str) -> str:
    """Return a label in quotes so that its difference from another one can be seen."""
    looks = [
        "".join(filter(_is_seen, unicodedata.normalize("NFC", repr(text))))
        for text in (label, beside)
    ]
    return ascii(label) if looks[0] == looks[1] else repr(label)


def check_values(values: Sequence[str], where: Callable[[str], str]) -> None:
    """Refuse labels of the training split that are no names of classes.

    Raises:
        DataError: one of them says that there is no label, is a list that became text, or they
            are scores.
    """
    for value in values:
        if value in _MISSING or not canonical(value):
            raise DataError(
                f"train: the label {value!r} ({where(value)}) is what tables have where there is "
                "none. Leave it empty there, or set data.columns.unlabelled to "
                f"{json.dumps(value)}; if it is a class, name every label under data.labels."
            )
    lists = [value for value in values if is_list_text(value)]
    are_lists = len(lists) == len(values) and not all(map(is_interval, lists))
    found = next(filter(is_quoted_list, lists), lists[0] if are_lists and lists else None)
    if found is not None:
        raise DataError(
            f"train: the label {found!r} ({where(found)}) is a list that became text. "
            f"{KEEP_LISTS}; lists of labels are read by task.kind: multi_label, lists of tags for "
            "lists of words by token_classification."
        )
    numbers = [as_number(value) for value in values]
    scores = [number for number in numbers if number is not None]
    if len(scores) == len(values) > _MOST_NUMBERS and any(score % 1 for score in scores):
        raise DataError(
            f"train: the labels are {len(values)} different numbers with fractions, such as "
            f"{next(value for value in values if Decimal(value) % 1)}. Scores that are to be "
            "predicted are read by task.kind: regression; if they are classes, name them under "
            "data.labels."
        )


def check_marked(
    values: Sequence[str], counts: Mapping[str, int], elsewhere: Sequence[set[str]]
) -> None:
    """Refuse -1, or -100, among the training labels where it may say that there is none.

    It is a class beside 0 and 1 alone, as in negative, neutral and positive, where it is in at
    most half of the rows and in each other labelled split; and beside other numbers than 0 to n.
    `elsewhere` are the labels of those splits.

    Raises:
        DataError: with both ways to say what it is.
    """
    for value in values:
        if as_number(value) not in _MARKS:
            continue
        others = [other for other in values if other != value]
        numbers = [number for other in others if (number := as_number(other)) is not None]
        are_words = not numbers
        are_classes = len(numbers) == len(others) and sorted(numbers) == [*range(len(numbers))]
        if len(others) < 2 or not (are_words or are_classes):
            continue
        is_scale = as_number(value) == -1 and len(numbers) == 2
        share = counts[value] / sum(counts.values())
        if is_scale and share <= 0.5 and all(value in found for found in elsewhere if found):
            continue
        raise DataError(
            f"train: {counts[value]:,} labels are '{value}' beside {_listed(others)}, which is "
            "what data sets have where there is no label. Set data.columns.unlabelled to "
            f"{json.dumps(value)}; if it is a class, name every label under data.labels."
        )


def unknown_labels(
    values: Sequence[str | None],
    rows: Sequence[int],
    names: Sequence[str],
    mapping: Mapping[str, str] | None,
    split: str,
) -> DataError:
    """Return the error of a split that has labels which are not known.

    `rows` says where each value stands; `mapping` is what `data.labels` says.
    """
    is_listed = mapping is not None and all(mapping.get(name) == name for name in names)
    known = [*names] if mapping is None or is_listed else [*mapping]
    accepted = {*known} if mapping is None else {*mapping}
    unknown = sorted({value for value in values if value is not None and value not in accepted})
    row = rows[values.index(unknown[0])] + 1
    shown = ", ".join(map(repr, unknown[:_N_UNKNOWN_SHOWN]))
    more = f" and {len(unknown) - _N_UNKNOWN_SHOWN:,} more" * (len(unknown) > _N_UNKNOWN_SHOWN)
    advice = "Correct the data, or name every label under data.labels."
    if mapping is not None:
        advice = (
            "Name the labels that the data has under data.labels, or take data.labels out to use "
            "those of the training split; or correct the data."
        )
    hints = _hints(unknown, known, names, values)
    numbers = f", or their numbers, 0 to {len(names) - 1}" * is_listed
    return DataError(
        f"{split}: unknown label {shown}{more} (first in row {row}); known labels: "
        f"{_listed(known)}{numbers}. {hints}{advice}"
    )


def _hints(
    unknown: Sequence[str], known: Sequence[str], names: Sequence[str], values: Sequence[str | None]
) -> str:
    """Return what the unknown labels may be instead, in sentences with a space behind them."""
    alike = {canonical(name): name for name in known}
    folded = {canonical(name).casefold(): name for name in known}
    for value in unknown:
        count = f"{values.count(value):,} labels are"
        if other := alike.get(canonical(value)):
            return (
                f"{count} {_shown(value, other)}, which differs from {_shown(other, value)} only "
                f"{_DIFFERENCE}. Write them alike. "
            )
        if value in _MISSING or as_number(value) in _MARKS:
            return (
                f"If '{value}' says that a row has no label, set data.columns.unlabelled to "
                f"{json.dumps(value)}. "
            )
        if is_quoted_list(value):
            return f"{value!r} is a list that became text. {KEEP_LISTS}. "
        if other := folded.get(canonical(value).casefold()):
            return f"'{value}' is written '{other}' elsewhere; upper and lower case differ. "
    if all(as_number(value) is not None for value in (*unknown, *names)) and any(
        Decimal(value) % 1 for value in unknown
    ):
        return "Scores that are to be predicted are read by task.kind: regression. "
    if len(unknown) > _MOST_NUMBERS:
        return (
            f"{len(unknown):,} different labels are unknown, so they may be no classes: numbers "
            "are read by task.kind: regression, texts that are to be written by "
            "sequence_to_sequence. "
        )
    return ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _N_KNOWN_SHOWN:,} more" * (len(names) > _N_KNOWN_SHOWN)
    return ", ".join(names[:_N_KNOWN_SHOWN]) + more


def is_quoted_list(text: str) -> bool:
    """Say whether a text is a list or mapping of quoted names, such as `['joy', 'anger']`."""
    inner = _inside(text)
    return inner is not None and inner.lstrip("[({ \n")[:1] in ("'", '"')


def is_list_text(text: str) -> bool:
    """Say whether a text is a list: of quoted names, of numbers such as `[3 27]`, or of nothing.

    `[unk]` is none, for it may be a name, nor is `(1)`.
    """
    inner = _inside(text)
    if inner is None:
        return False
    if text.strip().startswith("(") and "," not in inner and not is_quoted_list(text):
        return False
    return is_quoted_list(text) or _VALUES.fullmatch(inner) is not None


def is_interval(text: str) -> bool:
    """Say whether a list of two numbers may be the name of a range, such as `[0, 10]`."""
    return _INTERVAL.fullmatch(text.strip()) is not None


def is_joined_list(text: str, separator: str) -> bool:
    """Say whether a text is a list, perhaps of names without quotes, such as `[joy, anger]`."""
    inner = _inside(text)
    return is_list_text(text) or (
        inner is not None and separator in inner and not re.search(r"[\[\](){}]", inner)
    )


def _inside(text: str) -> str | None:
    """Return what stands between the brackets around a text, or None where there are none."""
    text = text.strip()
    if call := _CALL.fullmatch(text):
        text = call[1]
    if len(text) < 2 or _ENDS.get(text[0]) != text[-1]:
        return None
    return text[1:-1]
