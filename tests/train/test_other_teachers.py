"""Several teachers: whose logits a student learns from, row for row, and which are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import PipelineError, StoreIncompleteError, StoreMismatchError
from pipeline.models.inputs import Inputs
from pipeline.objectives.needs import Needs
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.view import make_view, read_view, write_view
from pipeline.text.tokens import Tokens
from pipeline.train.batches import JoinedSplit
from tests.conftest import capture_store, make_checkpoint, shift_store
from tests.train.bench import Bench


@pytest.fixture(scope="module")
def other_store(tmp_path_factory: pytest.TempPathFactory, even_tokens: Tokens) -> Path:
    """A store of a shallower teacher of the same tokens; not to be changed."""
    folder = tmp_path_factory.mktemp("other")
    teacher = make_checkpoint(folder / "teacher", seed=8, n_layers=2)
    signals = {"logits": {"encoding": "float32"}, "cls": None}
    return capture_store(folder / "store", teacher, even_tokens, signals=signals)


def reversed_rows(tokens: Tokens) -> Tokens:
    """Return the same rows in the opposite order."""
    split = tokens.splits["train"]
    order = np.arange(len(split))[::-1]
    rows = [split.row(row) for row in order]
    changed = replace(
        split,
        keys=split.keys[order],
        labels=split.labels[order],
        input_ids=np.concatenate([row.ids for row in rows]),
        token_type_ids=np.concatenate([row.types for row in rows]),
    )
    return replace(tokens, splits={**tokens.splits, "train": changed})


def student_of(other: Path, share: float = 0.5) -> dict[str, Any]:
    objectives = {"soft_target": {"other_teachers": {str(other): share}}}
    return {"model": {"n_layers": 2}, "objectives": objectives}


def logits_of(store: TeacherStore, tokens: Tokens, rows: np.ndarray) -> torch.Tensor:
    """Return a store's logits for rows of the training split, looked up one by one."""
    keys = tokens.splits["train"].keys
    known = {key.tobytes(): number for number, key in enumerate(store.keys)}
    return store.logits([known[keys[row].tobytes()] for row in rows.tolist()])


def is_of_the_same_rows(bench: Bench, other: Path, expected: Path) -> bool:
    """Say whether a batch's other logits are those that `expected` has for its rows."""
    needs = Needs(teacher=frozenset({Array(LOGITS)}), other_stores=frozenset({str(other)}))
    rows = JoinedSplit(
        bench.tokens.splits["train"],
        open_store(bench.store),
        needs,
        Inputs(0, has_token_types=True),
        other_stores={str(other): open_store(other)},
    )
    chosen = np.array([44, 3, 17, 59, 0])
    signals = rows.read(chosen).teacher()
    assert signals.logits is not None
    assert signals.logits.equal(logits_of(open_store(bench.store), bench.tokens, chosen))
    wanted = logits_of(open_store(expected), bench.tokens, chosen)
    return signals.other_logits[str(other)].equal(wanted)


def test_the_view_carries_the_other_manifest(
    tmp_path: Path, bench: Bench, other_store: Path
) -> None:
    """Catches a student that is not trained again when its other teacher is another."""
    view = bench.view(student_of(other_store))
    assert list(view.others) == [str(other_store)]
    other = view.others[str(other_store)]
    assert other.identity == read_manifest(other_store).identity
    assert {name for segment in other.segments for name in segment.arrays} == {"logits"}
    alone = bench.view({"model": {"n_layers": 2}, "objectives": {"soft_target": {}}})
    assert view.manifest == alone.manifest and not alone.others
    path = tmp_path / "view.json"
    write_view(path, view)
    assert read_view(path) == view


def test_a_student_of_two_teachers_learns_from_both(
    tmp_path: Path, bench: Bench, other_store: Path
) -> None:
    """Catches another teacher that is named, read, and left out of the loss."""
    weights = {}
    for share in (0.01, 0.99):
        folder = tmp_path / "students" / str(share)
        trained = bench.run(folder, student=student_of(other_store, share), epochs=1)
        assert trained.best_step == 4
        weights[share] = (folder / "model.safetensors").read_bytes()
    assert weights[0.01] != weights[0.99]


def test_rows_are_found_by_key(
    tmp_path: Path, bench: Bench, other_store: Path, even_tokens: Tokens
) -> None:
    """Catches rows joined by position: the other store has them in another order."""
    teacher = other_store.parent / "teacher"
    turned = capture_store(
        tmp_path / "turned",
        teacher,
        reversed_rows(even_tokens),
        signals={"logits": {"encoding": "float32"}, "cls": None},
    )
    keys = open_store(turned).keys[:40].tolist()
    assert keys != open_store(other_store).keys[:40].tolist()
    assert is_of_the_same_rows(bench, other_store, other_store)
    assert is_of_the_same_rows(bench, turned, turned)
    same = torch.from_numpy(np.arange(60))
    of_turned = logits_of(open_store(turned), bench.tokens, same.numpy())
    of_other = logits_of(open_store(other_store), bench.tokens, same.numpy())
    # Of batches of other rows: float32 sums of some 32 terms in another order, in two layers.
    torch.testing.assert_close(of_turned, of_other, rtol=0, atol=1e-5)
    shifted = shift_store(other_store, tmp_path / "shifted")
    assert not is_of_the_same_rows(bench, shifted, other_store), "negative control"


Spoil = Callable[[Path, Tokens], Path]


def with_other_labels(folder: Path, tokens: Tokens) -> Path:
    names = ("good", "bad")
    teacher = make_checkpoint(folder / "teacher", labels=names)
    return capture_store(folder / "store", teacher, replace(tokens, labels=names))


def with_fewer_rows(folder: Path, tokens: Tokens) -> Path:
    splits = {"validation": tokens.splits["validation"]}
    teacher = make_checkpoint(folder / "teacher")
    return capture_store(folder / "store", teacher, replace(tokens, splits=splits))


def missing(folder: Path, tokens: Tokens) -> Path:
    return folder / "nowhere"


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            with_other_labels,
            StoreMismatchError,
            "was captured with labels=good, bad, now negative, positive. ",
        ),
        (with_fewer_rows, StoreIncompleteError, "distinct rows of the token table. "),
        (missing, StoreIncompleteError, "holds no teacher store (no manifest.json). "),
    ],
)
def test_a_store_that_does_not_fit_is_refused(
    tmp_path: Path,
    bench: Bench,
    spoil: Spoil,
    error: type[PipelineError],
    message: str,
) -> None:
    """Catches logits whose columns are other labels, and rows that the other teacher never saw."""
    other = spoil(tmp_path / "other", bench.tokens)
    with pytest.raises(error) as caught:
        bench.view(student_of(other))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{other} ") and "\n" not in str(caught.value)


def test_another_tokenizer_is_refused(bench: Bench, other_store: Path) -> None:
    """Catches a teacher that saw other tokens under the same keys."""
    tokens = replace(bench.tokens, tokenizer="9" * 64)
    manifest = read_manifest(bench.store)
    own = manifest.model_copy(
        update={"identity": manifest.identity.model_copy(update={"tokenizer": "9" * 64})}
    )
    with pytest.raises(StoreMismatchError) as caught:
        make_view(bench.store, own, tokens, [Array(LOGITS)], [str(other_store)])
    assert str(caught.value).startswith(
        f"{other_store} was captured with tokenizer={bench.tokens.tokenizer[:12]}, now 999999999999"
    )
