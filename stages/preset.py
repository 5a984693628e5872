"""Well-known data sets for params.yaml; no stage of the pipeline."""

from collections.abc import Sequence

import click

from pipeline.core.atomic import write_file
from pipeline.core.errors import SettingsError
from pipeline.core.settings import PARAMS_PATH, parse_params, read_params_text
from pipeline.project.check import check_params
from pipeline.project.presets import apply_preset, check_files, find_preset, list_presets
from pipeline.project.shipped import listing
from stages.entry import load_params, stage


@click.command()
@click.argument("name", required=False)
@click.option("--list", "is_list", is_flag=True, help="Say what presets there are.")
@click.option("--apply", "is_applied", is_flag=True, help="Write it into params.yaml.")
@click.option("--path", metavar="PATH", help="Read its files there, in place of the Hub's.")
@stage("preset")
def main(name: str | None, is_list: bool, is_applied: bool, path: str | None) -> None:
    """Show the preset NAME, a well-known data set, or write it into params.yaml."""
    if path is not None and not is_applied:
        raise click.UsageError("--path says what --apply writes; give both")
    if is_applied and name is None:
        raise click.UsageError("--apply writes a preset; give its NAME")
    if name is None or is_list:
        click.echo("\n".join(listing(list_presets())))
        return
    preset = find_preset(name)
    if not is_applied:
        click.echo(preset.text, nl=False)
        return
    load_params()
    if path is not None:
        check_files(preset, path)
    text, changes = apply_preset(read_params_text(), preset, path)
    faults = _student_faults(text)
    write_file(PARAMS_PATH, text.encode())
    for change in changes:
        click.echo(f"params.yaml: {change}")
    for fault in faults:
        click.echo(f"now change {fault}")
    then = "Then " if faults else ""
    click.echo(f"{then}'dvc repro' prepares the data and runs the teacher on it.")


def _student_faults(text: str) -> Sequence[str]:
    """Return a line for each thing of students that does not go with the preset's task.

    Raises:
        SettingsError: params.yaml would have other faults.
    """
    try:
        check_params(parse_params(text))
    except SettingsError as error:
        if not all(fault.startswith("params.yaml: students.") for fault in error.faults):
            raise SettingsError(*error.faults, "params.yaml was not changed") from error
        return error.faults
    return ()


if __name__ == "__main__":
    main()
