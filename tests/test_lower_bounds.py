"""The versions that pyproject.toml asks for, and those that are tested together."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tests.imports import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]
PINNED = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
}


@pytest.mark.parametrize("needed", DEPENDENCIES, ids=str)
def test_the_pinned_version_is_allowed(needed: Requirement) -> None:
    """Catches a bound above what is tested, or a dependency whose version nothing pins."""
    assert PINNED[canonicalize_name(needed.name)] in needed.specifier
    assert any(bound.operator == ">=" for bound in needed.specifier)


def test_what_truncation_cuts_off_is_kept() -> None:
    """Catches a tokenizers that stops at the limit: rows after a window's first would be lost."""
    (needed,) = [one for one in DEPENDENCIES if one.name == "tokenizers"]
    assert "0.23.2" not in needed.specifier
    words = [f"word{number}" for number in range(50)]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="word0"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_truncation(max_length=10, stride=2)
    encoding = tokenizer.encode(" ".join(words))
    windows = [encoding, *encoding.overflowing]
    assert len(windows) == 6 and windows[-1].ids[-1] == 49
