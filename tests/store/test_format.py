"""FORMAT.md says enough: a reader written from it alone reads what `TeacherStore` reads."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import zarr
from numpy.typing import NDArray

from pipeline.signals.signal import NUMPY_TYPES
from pipeline.store.reader import TeacherStore, open_store
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store

Values = NDArray[np.float64]


class PlainReader:
    """A reader that knows FORMAT.md, json, pyarrow, zarr and numpy, and nothing of this project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
        content = {key: value for key, value in self.manifest.items() if key != "digest"}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert hashlib.sha256(canonical.encode()).hexdigest() == self.manifest["digest"]
        assert (content["format"], content["format_version"]) == ("decant-teacher-store", 1)
        self.group = zarr.open_group(folder, mode="r")
        self.keys: list[bytes] = []
        self.lengths: list[int] = []
        self.tables: dict[str, list[int]] = {}
        for segment in content["segments"]:
            with pa.ipc.open_file(folder / "rows" / f"{segment['name']}.arrow") as file:
                table = file.read_all()
            self.keys += table["key"].to_pylist()
            self.tables[segment["name"]] = table["length"].to_pylist()
            self.lengths += self.tables[segment["name"]]

    def decode(self, name: str, segment: dict[str, Any]) -> Values:
        """Return an array of a segment as plain numbers; maps are not yet rescaled."""
        array = self.group[f"{name}/{segment['name']}"]
        stored = np.asarray(array[...])
        encoding = segment["arrays"][name]["encoding"]
        assert array.attrs["encoding"] == encoding
        if encoding == "bfloat16":
            return (stored.astype("<u4") << 16).view("<f4").astype(np.float64)
        if encoding == "uint8_cbrt":
            return (stored / 255.0) ** 3
        return stored.astype(np.float64)

    def rows(self, name: str) -> list[Values]:
        """Return an array row by row, each in the shape that FORMAT.md gives."""
        teacher, rows = self.manifest["teacher"], []
        for segment in self.manifest["segments"]:
            values = self.decode(name, segment)
            if values.ndim > 1:
                rows += list(values)
                continue
            begin = 0
            for n in self.tables[segment["name"]]:
                width = "n_labels" if name == "logits/tokens" else "hidden_size"
                shape = (n, teacher[width])
                if name.startswith("attentions/"):
                    n_maps = 1 if name.endswith("-mean") else teacher["n_heads"]
                    shape = (n_maps, n, n)
                end = begin + int(np.prod(shape))
                row = values[begin:end].reshape(shape)
                if segment["arrays"][name]["encoding"] == "uint8_cbrt":
                    row = row / row.sum(-1, keepdims=True)
                rows.append(row)
                begin = end
            assert begin == len(values)
        return rows

    def moments(self) -> tuple[Values, Values]:
        """Return mean and standard deviation of [CLS] over the whole store."""
        parts = [self.decode("cls/moments", segment) for segment in self.manifest["segments"]]
        n_rows = np.array([segment["n_rows"] for segment in self.manifest["segments"]])
        weights = (n_rows / n_rows.sum())[:, None, None]
        means, deviations = (np.stack([part[index] for part in parts]) for index in (0, 1))
        mean = (weights * means).sum(0)
        return mean, np.sqrt((weights * (deviations**2 + (means - mean) ** 2)).sum(0))


ENCODINGS: dict[str, tuple[str, str, str, str, str]] = {
    "small": ("float32", "float16", "bfloat16", "uint8_cbrt", "float16"),
    "large": ("bfloat16", "bfloat16", "float32", "float32", "uint8_cbrt"),
    "other": ("float16", "float32", "float16", "bfloat16", "bfloat16"),
}
"""Of logits, cls, hidden states, attention maps and their mean."""


@pytest.fixture(scope="module", params=ENCODINGS)
def folder(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    checkpoint: Path,
    tokens: Tokens,
) -> Path:
    """A captured store with every signal; not to be changed."""
    logits, cls, states, maps, means = ENCODINGS[request.param]
    path = tmp_path_factory.mktemp("format") / "store"
    for heads, encoding, layers in (("all", maps, (2, 4)), ("mean", means, (1,))):
        signals = {
            "logits": {"encoding": logits},
            "cls": {"encoding": cls},
            "hidden_states": {"layers": (0, 3), "encoding": states},
            "attentions": {"layers": layers, "heads": heads, "encoding": encoding},
        }
        capture_store(path, checkpoint, tokens, signals=signals)
    return path


def read_all(store: TeacherStore, name: str) -> torch.Tensor:
    """Return what `TeacherStore` gives for all rows of an array, flat."""
    rows = range(len(store))
    signal, _, layer = name.partition("/")
    if signal in ("logits", "cls"):
        return (store.logits(rows) if signal == "logits" else store.cls(rows)).flatten()
    if layer.endswith("-mean"):
        return store.mean_attentions(rows, int(layer.removesuffix("-mean")))
    if signal == "hidden_states":
        return store.hidden_states(rows, int(layer)).flatten()
    return store.attentions(rows, int(layer))


def test_a_reader_written_from_the_page_reads_the_same(folder: Path) -> None:
    """Catches a page that is behind the code, or leaves out what a reader must know."""
    plain, store = PlainReader(folder), open_store(folder)
    assert len(plain.keys) == len(store) > 100
    assert plain.keys == [key.tobytes() for key in store.keys]
    assert plain.lengths == store.lengths.tolist()
    arrays = {name for segment in plain.manifest["segments"] for name in segment["arrays"]}
    assert arrays == {
        "logits",
        "cls",
        "cls/moments",
        "hidden_states/00",
        "hidden_states/03",
        "attentions/02",
        "attentions/04",
        "attentions/01-mean",
    }
    for name in sorted(arrays - {"cls/moments"}):
        flat = np.concatenate([row.ravel() for row in plain.rows(name)])
        read = read_all(store, name).double().numpy()
        assert np.ptp(read) > 0
        # Equal, but for the rounding of float32 where a map's rows are divided by their sums.
        is_coded = store.manifest.segments[0].arrays[name].encoding == "uint8_cbrt"
        np.testing.assert_allclose(flat, read, rtol=1e-6 if is_coded else 0, atol=0, err_msg=name)
    for row in plain.rows("attentions/02"):
        np.testing.assert_allclose(row.sum(-1), 1, atol=0.01)  # of bfloat16 probabilities
    for mine, theirs in zip(plain.moments(), store.cls_moments(), strict=True):
        np.testing.assert_allclose(mine, theirs.double().numpy(), rtol=1e-5, atol=1e-6)
    states = np.stack(plain.rows("cls"))
    for mine, theirs in zip((states.mean(0), states.std(0)), plain.moments(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-5)


def test_zarr_names_the_axes_of_every_array(folder: Path) -> None:
    """Catches arrays that another tool reads without knowing what their axes are."""
    plain = PlainReader(folder)
    axes = {
        "logits": ("row", "label"),
        "cls": ("row", "layer", "hidden"),
        "cls/moments": ("moment", "layer", "hidden"),
        "hidden_states/03": ("element",),
        "attentions/01-mean": ("element",),
    }
    for name, wanted in axes.items():
        assert plain.group[f"{name}/00001"].metadata.dimension_names == wanted


def test_the_page_names_the_limits_of_the_code() -> None:
    """Catches a limit that is changed in one of the two places."""
    from pipeline.store import manifest, spec

    text = (Path(manifest.__file__).parent / "FORMAT.md").read_text(encoding="utf-8")
    assert f"at most {manifest.MAX_MANIFEST_BYTES // 2**20} MiB" in text
    assert f"{manifest.ROW_BYTES} R to {manifest.ROW_BYTES} R + " in text
    assert f"+ {manifest.ROW_TABLE_OVERHEAD_BYTES:,} bytes" in text
    assert f"followed by {spec.CHECKSUM_BYTES} bytes" in text
    assert f"```\n{spec.GROUP_BYTES.decode()}\n```" in text
    for name in (*NUMPY_TYPES, *spec.SIGNAL_FOLDERS, *manifest.ManifestFile.model_fields):
        assert f"`{name}`" in text, name
