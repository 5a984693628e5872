"""Recipes for params.yaml; no stage of the pipeline."""

import click

from pipeline.core.atomic import write_file
from pipeline.core.errors import SettingsError
from pipeline.core.settings import PARAMS_PATH, parse_params, read_params_text
from pipeline.project.check import check_params
from pipeline.project.recipes import apply_recipe, find_recipe, list_recipes, next_step
from pipeline.project.shipped import listing
from stages.entry import load_params, stage


@click.command()
@click.argument("name", required=False)
@click.option("--list", "is_list", is_flag=True, help="Say what recipes there are.")
@click.option("--apply", "is_applied", is_flag=True, help="Add its student to params.yaml.")
@click.option("--as", "student", metavar="STUDENT", help="Call the added student so.")
@stage("recipe")
def main(name: str | None, is_list: bool, is_applied: bool, student: str | None) -> None:
    """Show the recipe NAME, a published method as a student, or add it to params.yaml."""
    if student is not None and not is_applied:
        raise click.UsageError("--as names the student that --apply adds; give both")
    if is_applied and name is None:
        raise click.UsageError("--apply adds a recipe; give its NAME")
    if name is None or is_list:
        click.echo("\n".join(listing(list_recipes())))
        return
    recipe = find_recipe(name)
    if not is_applied:
        click.echo(recipe.text, nl=False)
        return
    load_params()
    text, changes = apply_recipe(read_params_text(), recipe, student or recipe.student)
    try:
        check_params(parse_params(text))
    except SettingsError as error:
        hint = (
            "params.yaml was not changed. Recipes are written for the default teacher of 6 layers; "
            f"for another, add the lines of 'decant recipe {name}' by hand, with other layers"
        )
        raise SettingsError(*error.faults, hint) from error
    write_file(PARAMS_PATH, text.encode())
    for change in changes:
        click.echo(f"params.yaml: {change}")
    click.echo(next_step(changes))


if __name__ == "__main__":
    main()
