"""What a capture refuses to add to a store, and that the store is then as it was."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import SettingsError, StoreIncompleteError, StoreMismatchError
from pipeline.core.fingerprint import digest_folder, digest_tokenizer
from pipeline.store.manifest import read_manifest
from tests.conftest import BAD, GOOD, PLAIN, make_checkpoint, make_sentences, make_tokenizer
from tests.teacher.made_captures import LAYERS_2_AND_3, RunCapture, make_table


def refusal(store_dir: Path, faults: str) -> str:
    text = (
        f"{store_dir} was captured with {faults}. Restore what changed, or delete the store "
        f"(rm -r {store_dir}) to capture again."
    )
    return f"^{re.escape(text)}$"


def test_another_teacher_is_refused(tmp_path: Path, run: RunCapture, store: Path) -> None:
    """Catches a store with the signals of two teachers; weights alone differ here."""
    other = make_checkpoint(tmp_path / "other", seed=1)
    before = digest_folder(store)
    with pytest.raises(StoreMismatchError) as raised:
        run(store, teacher=other)
    found = re.fullmatch(
        r".* was captured with weights=([0-9a-f]{12}), now ([0-9a-f]{12})\. Restore .*",
        str(raised.value),
    )
    assert found is not None and found[1] != found[2]
    assert found[1] == read_manifest(store).identity.weights[:12]
    assert digest_folder(store) == before


def test_another_tokenizer_is_refused(tmp_path: Path, run: RunCapture, store: Path) -> None:
    """Catches token ids that mean other words to the same teacher."""
    other = make_checkpoint(tmp_path / "other")
    make_tokenizer(other, (*BAD, *GOOD, *PLAIN))
    digest = digest_tokenizer(load_tokenizer(other))
    faults = f"tokenizer={run.tokens.tokenizer[:12]}, now {digest[:12]}"
    with pytest.raises(StoreMismatchError, match=refusal(store, faults)):
        run(store, teacher=other, tokens=replace(run.tokens, tokenizer=digest))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"max_length": 32}, "max_length=64, now 32"),
        (
            {"labels": ("positive", "negative")},
            "labels=negative, positive, now positive, negative",
        ),
        (
            {"labels": ("positive", "negative"), "max_length": 32},
            "labels=negative, positive, now positive, negative; max_length=64, now 32",
        ),
    ],
)
def test_other_tokens_are_refused(
    run: RunCapture, store: Path, change: dict[str, Any], faults: str
) -> None:
    """Catches texts cut elsewhere, and label numbers that mean other names."""
    with pytest.raises(StoreMismatchError, match=refusal(store, faults)):
        run(store, tokens=replace(run.tokens, **change))


def test_another_precision_is_refused(run: RunCapture, store: Path) -> None:
    """Catches a store that is float32 in one half and bfloat16 in the other."""
    with pytest.raises(StoreMismatchError, match=refusal(store, "precision=float32, now bfloat16")):
        run(store, precision="bfloat16")


def test_another_encoding_is_refused(run: RunCapture, store: Path) -> None:
    """Catches an option that is silently ignored for what is in the store already."""
    signals = {"attentions": {"layers": (2,), "encoding": "float32"}}
    with pytest.raises(SettingsError) as raised:
        run(store, signals)
    assert raised.value.faults == (
        f"capture.signals.attentions.encoding: {store} holds attentions/02 as float16, "
        "params.yaml asks for float32. Restore float16, or delete the store to capture again.",
    )


def test_layers_that_do_not_exist_are_refused(tmp_path: Path, run: RunCapture) -> None:
    """Catches a capture that runs for hours and then lacks a layer; names all of them."""
    with pytest.raises(SettingsError) as raised:
        run(tmp_path / "store", {"attentions": {"layers": (0, 2, 5)}})
    assert raised.value.faults == tuple(
        f"capture.signals.attentions.layers: layer {layer} does not exist, the teacher has "
        "layers 1 to 4"
        for layer in (0, 5)
    )
    assert not (tmp_path / "store").exists()


def test_rows_that_are_gone_cannot_get_a_new_layer(
    tmp_path: Path, run: RunCapture, checkpoint: Path, store: Path
) -> None:
    """Catches a segment with a layer for some of its rows only."""
    rows = list(dict(make_sentences(40)).items())[:34]
    fewer = make_table(tmp_path, checkpoint, rows[3:20], rows[20:])
    assert run(store, tokens=fewer).n_computed == 0
    before = digest_folder(store)
    message = (
        f"{store}: segment 00000 needs attentions/03, but 3 of its 12 rows are no longer in the "
        "token table or its augmentation. Restore them, or delete the store to capture again."
    )
    with pytest.raises(StoreIncompleteError, match=f"^{re.escape(message)}$"):
        run(store, LAYERS_2_AND_3, tokens=fewer)
    assert digest_folder(store) == before
