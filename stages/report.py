"""All students beside their teacher: `reports/report.md` and `reports/report.html`."""

import click

from pipeline.report.report import Sources, write_report
from stages.entry import load_params, stage
from stages.paths import CURVES, EVALUATIONS, REPORTS, SECONDS, metrics_path


@click.command()
@stage("report")
def main() -> None:
    """Write the report of the students that params.yaml names."""
    students = load_params()["students"]
    sources = Sources(EVALUATIONS, CURVES, SECONDS, students)
    write_report([metrics_path(name) for name in students], REPORTS, sources)
    click.echo(f"report: {len(students)} students in {REPORTS / 'report.html'}")


if __name__ == "__main__":
    main()
