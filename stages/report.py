"""All students beside their teacher: `reports/report.md` and `reports/report.html`."""

import click

from pipeline.evaluate.report import write_report
from stages.entry import load_params, stage
from stages.paths import REPORTS, metrics_path


@click.command()
@stage("report")
def main() -> None:
    """Write the report of the students that params.yaml names."""
    students = load_params()["students"]
    write_report([metrics_path(name) for name in students], REPORTS)
    click.echo(f"report: {len(students)} students in {REPORTS / 'report.html'}")


if __name__ == "__main__":
    main()
