"""A plan as text for people."""

from typing import TYPE_CHECKING

from pipeline.store_tools.summary import FolderSizes, folder_sizes, format_size, format_table
from pipeline.teacher.plan import Plan
from pipeline.teacher.work import count_rows

if TYPE_CHECKING:
    import torch

    from pipeline.teacher.speed import Speed


def describe_plan(plan: Plan) -> str:
    """Return what would be computed and written, with a table of bytes by array."""
    teacher, planned = plan.planned.teacher, plan.planned
    new = [work for work in plan.works if work.segment is None]
    extended = [work for work in plan.works if work.segment is not None]
    n_all, n_rows = len(plan.rows.keys), plan.n_rows
    n_extended = count_rows(extended)
    to_extend = f", arrays to add to {n_extended:,}" if n_extended else ""
    words = "labels" if plan.rows.n_targets is None else "word pieces"
    facts = [
        (
            "teacher",
            f"{plan.teacher_dir}{'' if plan.is_finetuned else ', to be fine-tuned'} "
            f"({teacher.model_type}, {teacher.n_layers} layers, "
            f"{teacher.n_heads} heads, width {teacher.hidden_size}, {teacher.n_labels:,} {words})",
        ),
        ("store", f"{plan.store_dir} ({'new' if plan.present is None else 'to be added to'})"),
        (
            "rows",
            f"{n_all:,} distinct: {n_all - n_rows:,} already present, "
            f"{n_rows - n_extended:,} to compute{to_extend}",
        ),
        ("tokens", f"{plan.n_tokens:,} to compute, in {plan.precision}{_targets(plan)}"),
        (
            "segments",
            f"{len(new):,} to add, of up to {planned.segment_rows:,} rows; {len(extended):,} to "
            f"extend; {len(planned.segments):,} in the end",
        ),
    ]
    before = None if plan.present is None else folder_sizes(plan.present)
    after = folder_sizes(planned)
    lines = [f"{name:<10}{value}" for name, value in facts]
    lines += ["", *format_table(_table(before, after)), ""]
    lines.append(_describe_disk(after.total_bytes, before, plan.free_bytes))
    return "\n".join(lines)


def _targets(plan: Plan) -> str:
    n_targets = plan.rows.n_targets
    if n_targets is None:
        return ""
    n_asked = sum(int(n_targets[work.rows].sum()) for work in plan.works)
    return f"; {n_asked:,} word pieces to predict"


def _table(before: FolderSizes | None, after: FolderSizes) -> list[tuple[str, str, str, str]]:
    present = {} if before is None else _sizes(before)
    encodings = {array.name: array.encoding for array in after.arrays}
    rows = [("array", "encoding", "bytes to add", "bytes in the end")]
    for name, size_bytes in _sizes(after).items():
        added = f"{size_bytes - present.get(name, 0):,}"
        rows.append((name, encodings.get(name, ""), added, f"{size_bytes:,}"))
    return rows


def _sizes(sizes: FolderSizes) -> dict[str, int]:
    return {
        **{array.name: array.size_bytes for array in sizes.arrays},
        "row tables": sizes.rows_bytes,
        "teacher files": sizes.teacher_bytes,
        "metadata": sizes.metadata_bytes,
        "total": sizes.total_bytes,
    }


def _describe_disk(total_bytes: int, before: FolderSizes | None, free_bytes: int) -> str:
    needed = total_bytes - (0 if before is None else before.total_bytes)
    found = f"{format_size(needed)} to write, {format_size(free_bytes)} free"
    if needed > free_bytes:
        return f"disk      NOT ENOUGH: {found}. Ask for fewer layers or rows, or free some space."
    return f"disk      {found}"


def describe_speed(speed: "Speed", device: "torch.device") -> str:
    """Return the expected time and what it was measured on."""
    return (
        f"time      about {_describe_seconds(speed.seconds)} on {device.type} in one process "
        f"({speed.n_measured:,} of {speed.n_batches:,} batches measured)"
    )


def _describe_seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
