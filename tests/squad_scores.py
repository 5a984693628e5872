"""SQuAD's scores of answers (Rajpurkar et al. 2016, 1606.05250, section 6.1), by plain counting.

A reference for tests: precision and recall are counted word by word, and their mean is taken.
"""

import re
import string


def words(text: str) -> list[str]:
    """Return a text's words as SQuAD compares them."""
    plain = "".join(one for one in text.lower() if one not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def f1(given: str, references: list[str]) -> float:
    """Return SQuAD's F1 of one answer against the nearest right one; none is the empty answer."""
    return max(_f1(words(given), words(reference)) for reference in references or [""])


def exact_match(given: str, references: list[str]) -> float:
    """Return 1 where an answer has the words of a right one, else 0."""
    return float(any(words(given) == words(reference) for reference in references or [""]))


def _f1(ours: list[str], theirs: list[str]) -> float:
    left, n_shared = list(theirs), 0
    for word in ours:
        if word in left:
            left.remove(word)
            n_shared += 1
    if not ours or not theirs:
        return float(ours == theirs)
    if not n_shared:
        return 0.0
    precision, recall = n_shared / len(ours), n_shared / len(theirs)
    return 2 * precision * recall / (precision + recall)
