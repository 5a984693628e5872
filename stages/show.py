"""One row of a teacher store, with a picture of its attention; no stage of the pipeline."""

from pathlib import Path

import click

from pipeline.core.atomic import write_file
from pipeline.evaluate.stored_row import attention_maps, describe_row, find_row, is_key
from pipeline.report.figures.heat import AttentionMap, draw_attention_maps
from pipeline.report.figures.svg import TEACHER_COLOUR
from pipeline.store.reader import open_store
from stages.entry import stage
from stages.paths import STORE, TOKENS


@click.command()
@click.argument("store", type=click.Path(path_type=Path), default=STORE)
@click.option(
    "--row", "wanted", required=True, metavar="KEY|TEXT", help="32 hex digits, or a text."
)
@click.option("--pair", metavar="TEXT", help="The second text of a row that has two.")
@click.option("--layer", type=click.IntRange(min=1), help="Draw this layer alone.")
@click.option("--head", type=click.IntRange(min=0), help="Draw this head, from 0; else their mean.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The picture, FILE.svg (default: attentions-KEY.svg).",
)
@stage("show")
def main(
    store: Path,
    wanted: str,
    pair: str | None,
    layer: int | None,
    head: int | None,
    output: Path | None,
) -> None:
    """Print what STORE (default: artifacts/teacher_store) holds of a row; draw its attention."""
    if pair is not None and is_key(wanted):
        raise click.UsageError("--pair goes with a text, --row is a key")
    if output is not None and output.suffix.lower() != ".svg":
        raise click.UsageError(f"--output {output}: the picture is an SVG; name it FILE.svg")
    opened = open_store(store)
    row = find_row(opened, wanted, pair, TOKENS)
    click.echo(describe_row(row))
    maps = attention_maps(opened, row, layer, head)
    if not maps:
        click.echo("no attention maps were captured for this row; no picture is written")
        return
    path = output or Path(f"attentions-{row.key.hex()[:12]}.svg")
    which = "mean of all heads" if head is None else f"head {head}"
    tokens = row.tokens or [str(number) for number in range(row.n_tokens)]
    drawn = [
        AttentionMap(f"layer {number}", values.numpy(), tokens, TEACHER_COLOUR)
        for number, values in maps.items()
    ]
    title = f"teacher: {row.prediction}  |  {which}"
    write_file(path, draw_attention_maps(drawn, title).document())
    click.echo(f"attention of layers {', '.join(map(str, maps))}, {which}: {path}")


if __name__ == "__main__":
    main()
