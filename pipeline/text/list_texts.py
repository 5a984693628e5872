"""Lists that became text, as where a table of lists is written as CSV."""

import re

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
