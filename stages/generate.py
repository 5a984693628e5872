"""Texts that the teacher writes itself, for students to learn from: `artifacts/generated`."""

from time import perf_counter

import click

from pipeline.core.atomic import replacing_folder
from pipeline.core.checkpoint import read_config
from pipeline.core.fingerprint import digest_config, digest_json, digest_weights
from pipeline.core.runtime import RuntimeSettings, pick_device
from pipeline.core.settings import parse_section
from pipeline.core.stamp import code_names, stamp_in
from pipeline.tasks import TASKS, task_of
from pipeline.tasks.task import TaskSettings
from pipeline.teacher.generate import generate
from pipeline.teacher.generation_settings import GenerationSettings
from pipeline.teacher.stored_teacher import has_weights
from pipeline.teacher.versions import GENERATION
from pipeline.text.tokenise import write_no_variants
from pipeline.text.tokens import open_tokens
from stages.entry import force_option, load_params, stage
from stages.paths import GENERATED, TEACHER, TOKENS
from stages.seconds import record_seconds


@click.command()
@force_option
@stage("generate")
def main(*, force: bool) -> None:
    """Let the teacher write texts, unless it wrote them from exactly these inputs."""
    params = load_params()
    settings = parse_section(GenerationSettings, params.get("generation"), "generation")
    task = TASKS[parse_section(TaskSettings, params.get("task"), "task").kind]
    runtime = parse_section(RuntimeSettings, params.get("runtime"), "runtime")
    tokens = open_tokens(TOKENS)
    is_on = bool(settings.splits)
    codes = code_names("generate", GENERATION)
    inputs = {
        "tokens": tokens.digest,
        "weights": digest_weights(TEACHER) if is_on and has_weights(TEACHER) else "",
        "config": digest_config(read_config(TEACHER)) if is_on else "",
        "settings": digest_json(settings.model_dump(mode="json")) if is_on else "",
        "code": codes[0],
    }
    if force or not stamp_in(GENERATED).holds(inputs, codes=codes):
        started = perf_counter()
        with replacing_folder(GENERATED) as folder:
            if is_on:
                device = pick_device(runtime)
                summary = generate(TEACHER, tokens, task, settings, folder, device=device)
            else:
                summary = write_no_variants(tokens, task_of(tokens), folder)
            stamp_in(folder).write(inputs)
        record_seconds("generate", started, summary["digest"])
        n_rows = sum(split["n_rows"] for split in summary["splits"].values())
        outcome = f"texts for {n_rows:,} rows of {', '.join(settings.splits)}"
    else:
        outcome = "the texts were made from exactly these inputs; kept as they are"
    click.echo(f"generate: {outcome if is_on else 'off (generation.splits is empty)'}")


if __name__ == "__main__":
    main()
