"""What a teacher store holds, told from its manifest alone; no data file is read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.models.architecture import HeadReads
from pipeline.signals import SIGNALS
from pipeline.signals.signal import Encoding
from pipeline.store.files import check_present
from pipeline.store.lock import LOCK_NAME
from pipeline.store.manifest import Manifest, manifest_bytes, read_manifest
from pipeline.store.spec import GROUP_BYTES, group_folders, parse_array_name

_SUMMARY_FORMAT = "decant-store-summary"
_SUMMARY_VERSION = 1

_SIGNALS = list(SIGNALS)
_CLS: dict[HeadReads, str] = {
    "first": "the first token",
    "last": "the last token that is not padding",
    "mean": "the mean of all tokens",
}


@dataclass(frozen=True)
class ArraySize:
    """One array over all segments that have it."""

    name: str
    encoding: Encoding
    n_segments: int
    n_rows: int
    size_bytes: int
    """Of the chunk files, checksums included."""


@dataclass(frozen=True)
class FolderSizes:
    """Where the bytes of a store's folder are; together they are all of it."""

    arrays: tuple[ArraySize, ...]
    """In the order of layers."""
    rows_bytes: int
    """Row tables."""
    teacher_bytes: int
    """The teacher's config, tokenizer and weights."""
    metadata_bytes: int
    """The manifest and Zarr's metadata."""

    @property
    def total_bytes(self) -> int:
        """The size of all files."""
        arrays = sum(array.size_bytes for array in self.arrays)
        return arrays + self.rows_bytes + self.teacher_bytes + self.metadata_bytes


def folder_sizes(manifest: Manifest) -> FolderSizes:
    """Return the sizes of a store's files, the manifest included."""
    found: dict[str, ArraySize] = {}
    metadata_bytes = len(manifest_bytes(manifest))
    for segment in manifest.segments:
        for name, record in segment.arrays.items():
            size = found.get(name, ArraySize(name, record.encoding, 0, 0, 0))
            found[name] = ArraySize(
                name,
                record.encoding,
                size.n_segments + 1,
                size.n_rows + segment.n_rows,
                size.size_bytes + record.chunk.size_bytes,
            )
            metadata_bytes += record.metadata.size_bytes
    specs = {name: parse_array_name(name) for name in found}
    n_groups = 1 + len(group_folders(specs.values()))
    order = sorted(found, key=lambda name: (_SIGNALS.index(specs[name].signal.name), specs[name]))
    return FolderSizes(
        arrays=tuple(found[name] for name in order),
        rows_bytes=sum(segment.rows.size_bytes for segment in manifest.segments),
        teacher_bytes=sum(record.size_bytes for record in manifest.teacher_files.values()),
        metadata_bytes=metadata_bytes + n_groups * len(GROUP_BYTES),
    )


def summarise_store(store_dir: Path) -> dict[str, Any]:
    """Return what a store holds as a JSON document; its keys are stable.

    The manifest is read, and every file's size compared with it; nothing is hashed.

    Raises:
        StoreIncompleteError: there is no store, or files are missing of what is here in part.
        StoreDamagedError: a file has another size, or the manifest was altered.
    """
    manifest = read_manifest(store_dir)
    absent = check_present(store_dir, manifest)
    sizes = folder_sizes(manifest)
    identity = manifest.identity.model_dump(mode="json")
    segments = manifest.segments
    asks = any(segment.has_targets for segment in segments)
    return {
        "format": _SUMMARY_FORMAT,
        "format_version": _SUMMARY_VERSION,
        "store": str(store_dir),
        "store_format_version": manifest.format_version,
        "teacher": {
            **manifest.teacher.model_dump(mode="json"),
            "labels": identity.pop("labels"),
            "weights": identity.pop("weights"),
            "config": identity.pop("config"),
        },
        **identity,
        "teacher_files": {
            name: record.size_bytes for name, record in sorted(manifest.teacher_files.items())
        },
        "has_weights": any(name.endswith(".safetensors") for name in manifest.teacher_files),
        "segment_rows": manifest.segment_rows,
        "n_segments": len(segments),
        "n_rows": sum(segment.n_rows for segment in segments),
        "n_tokens": sum(segment.n_tokens for segment in segments),
        **({"n_targets": sum(segment.size.n_targets for segment in segments)} if asks else {}),
        "arrays": {
            array.name: {
                "encoding": array.encoding,
                "n_segments": array.n_segments,
                "n_rows": array.n_rows,
                "size_bytes": array.size_bytes,
            }
            for array in sizes.arrays
        },
        "rows_bytes": sizes.rows_bytes,
        "teacher_bytes": sizes.teacher_bytes,
        "metadata_bytes": sizes.metadata_bytes,
        "size_bytes": sizes.total_bytes,
        "absent": {
            "arrays": {name: len(segments) for name, segments in sorted(absent.arrays.items())},
            "weights": bool(absent.weights),
            "size_bytes": sum(
                record.size_bytes for name, record in manifest.files() if name in absent.files
            ),
            "command": absent.command(store_dir) if absent.is_partial else None,
        },
        "incomplete": _gaps(store_dir, manifest, sizes),
        "versions": dict(sorted(manifest.versions.items())),
    }


def _gaps(store_dir: Path, manifest: Manifest, sizes: FolderSizes) -> list[str]:
    """Return every sign that a capture has not ended well, one sentence each."""
    n_segments = len(manifest.segments)
    gaps = [
        f"{array.name} is there for {array.n_segments} of {n_segments} segments"
        for array in sizes.arrays
        if array.n_segments < n_segments
    ]
    if not n_segments:
        gaps.append("no segment is committed")
    lock = store_dir / LOCK_NAME
    if lock.is_file() and lock.stat().st_size:  # emptied by a writer that ends well
        gaps.append("the last capture was stopped, or is still running")
    return gaps


def describe_store(summary: dict[str, Any]) -> str:
    """Return what `summarise_store` gives as text for people."""
    teacher = summary["teacher"]
    files = summary["teacher_files"]
    carried = "config, tokenizer and weights" if summary["has_weights"] else "config and tokenizer"
    versions = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
    facts = [
        ("store", f"{summary['store']} (format version {summary['store_format_version']})"),
        (
            "teacher",
            f"{teacher['model_type']}, {_describe_layers(teacher)}, {teacher['n_heads']} heads, "
            f"width {teacher['hidden_size']}, weights {teacher['weights'][:12]}",
        ),
        *([("[CLS]", _CLS[teacher["head_reads"]])] if teacher["head_reads"] else []),
        ("task", _describe_task(summary)),
        ("tokenizer", f"{summary['tokenizer'][:12]}, up to {summary['max_length']:,} tokens a row"),
        ("precision", summary["precision"]),
        ("made with", versions),
        ("carries", f"{carried}: {len(files)} files, {format_size(summary['teacher_bytes'])}"),
        (
            "rows",
            f"{summary['n_rows']:,} of {summary['n_tokens']:,} tokens in {summary['n_segments']:,} "
            f"segments of up to {summary['segment_rows']:,}",
        ),
    ]
    if "n_targets" in summary:
        facts.append(("targets", f"{summary['n_targets']:,} word pieces asked for"))
    table = [("array", "encoding", "segments", "bytes")]
    table += [
        (name, array["encoding"], f"{array['n_segments']:,}", f"{array['size_bytes']:,}")
        for name, array in summary["arrays"].items()
    ]
    others = {"row tables": "rows", "teacher files": "teacher", "metadata": "metadata"}
    table += [(name, "", "", f"{summary[key + '_bytes']:,}") for name, key in others.items()]
    table.append(("total", "", "", f"{summary['size_bytes']:,}"))
    gaps = summary["incomplete"]
    verdict = ["complete: every segment has every array"]
    if gaps:
        verdict = [f"INCOMPLETE: {gap}" for gap in gaps]
        verdict.append("'dvc repro capture' adds what is missing.")
    lines = [f"{name:<11}{value}" for name, value in facts]
    total = f"in all {format_size(summary['size_bytes'])}"
    absent = summary["absent"]
    if absent["command"]:
        total += f", of which {format_size(absent['size_bytes'])} are not here"
        parts = [
            f"{name} of {n} of {summary['arrays'][name]['n_segments']} segments"
            for name, n in absent["arrays"].items()
        ]
        parts += ["the teacher's weights"] if absent["weights"] else []
        verdict = verdict if gaps else []
        verdict.append(f"PARTIAL: not fetched: {', '.join(parts)}")
        verdict.append(f"'{absent['command']}' brings it.")
    return "\n".join([*lines, "", *format_table(table), "", total, *verdict])


def _describe_layers(teacher: dict[str, Any]) -> str:
    if "n_decoder_layers" not in teacher:
        return f"{teacher['n_layers']} layers"
    return f"{teacher['n_layers']} encoder and {teacher['n_decoder_layers']} decoder layers"


def _describe_task(summary: dict[str, Any]) -> str:
    teacher = summary["teacher"]
    if "n_targets" in summary:
        return f"{summary['task']}, of {teacher['n_labels']:,} word pieces"
    return f"{summary['task']} into {', '.join(teacher['labels'])}"


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns; columns of numbers are aligned right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    are_numbers = [
        all(re.fullmatch(r"[\d,]*", cell) for cell in column[1:]) and any(column[1:])
        for column in columns
    ]
    return [
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, are_numbers, strict=True)
        ).rstrip()
        for row in rows
    ]


def format_size(size_bytes: int) -> str:
    """Return a size for people, such as `1.5 MiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    size, unit = size_bytes / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if size >= 1024:
            size, unit = size / 1024, larger
    return f"{size:,.1f} {unit}"
