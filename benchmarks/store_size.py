"""What a store takes on disk beside padded float32 arrays of the same signals.

The store is written for real, with random values: encodings do not compress, so sizes do
not depend on them. Signals are logits, [CLS] and the attention maps of all layers.
"""

import math
import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.made_store import write_made_store
from benchmarks.made_training import SHAPES
from pipeline.signals.axis import SegmentSize
from pipeline.signals.cls import with_moments
from pipeline.signals.signal import Encoding
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.teacher.capture_settings import SignalsSettings
from pipeline.teacher.work import choose_segment_rows

_PADDED_LENGTH = 128


@click.command()
@click.option("--shape", type=click.Choice(list(SHAPES)), default="base", show_default=True)
@click.option("--rows", "n_rows", default=1000, show_default=True)
def main(shape: str, n_rows: int) -> None:
    """Print a table of sizes for short and for long rows."""
    teacher = SHAPES[shape]
    layers = tuple(range(1, teacher.n_layers + 1))
    click.echo(
        f"{shape}, {teacher.n_layers} layers, {n_rows:,} rows, padded to {_PADDED_LENGTH}: "
        "MiB and share\n"
    )
    click.echo("| mean tokens | attention as | padded float32 | store | share |")
    click.echo("|---|---|---|---|---|")
    generator = np.random.default_rng(0)
    for mean, spread in ((25, 8), (107, 12)):
        lengths = np.clip(generator.normal(mean, spread, n_rows), 4, _PADDED_LENGTH)
        lengths = lengths.astype(np.int64)
        encodings: tuple[Encoding, ...] = ("float16", "uint8_cbrt")
        for encoding in encodings:
            signals = {"attentions": {"layers": layers, "encoding": encoding}}
            settings = SignalsSettings.model_validate(signals)
            asked = settings.arrays(CLASSIFICATION)
            arrays = with_moments(asked)
            padded = SegmentSize(n_rows, n_rows * _PADDED_LENGTH, n_rows * _PADDED_LENGTH**2)
            plain = sum(4 * math.prod(array.shape(padded, teacher)) for array in asked)
            with tempfile.TemporaryDirectory() as folder:
                store = Path(folder) / "store"
                n_segment = choose_segment_rows(lengths, arrays, teacher)
                write_made_store(store, teacher, arrays, lengths, n_segment)
                size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
            click.echo(
                f"| {lengths.mean():.0f} | {encoding} | {plain / 2**20:,.0f} | "
                f"{size / 2**20:,.0f} | {size / plain:.1%} |"
            )


if __name__ == "__main__":
    main()
