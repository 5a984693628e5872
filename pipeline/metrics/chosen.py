"""The metrics that params.yaml chooses for a task, checked against the task."""

import difflib

from pipeline.metrics import METRICS
from pipeline.tasks.task import TaskSettings


def metric_faults(settings: TaskSettings) -> list[str]:
    """Return a line for each fault of `task.metrics`."""
    if settings.metrics is None:
        return []
    place = "task.metrics"
    fitting = [name for name, metric in METRICS.items() if settings.kind in metric.kinds]
    faults = []
    for name in settings.metrics:
        if name not in METRICS:
            near = difflib.get_close_matches(name, fitting, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(fitting)}"
            faults.append(f"{place}: there is no metric '{name}'; {remedy}")
        elif name not in fitting:
            faults.append(
                f"{place}: {name} is not of {settings.kind}; choose among {', '.join(fitting)}"
            )
    if not settings.metrics or len(set(settings.metrics)) < len(settings.metrics):
        faults.append(
            f"{place}: name at least one metric, and each once; found {[*settings.metrics]}"
        )
    elif not faults and METRICS[settings.metrics[0]].reads_texts:
        rest = [name for name in fitting if not METRICS[name].reads_texts]
        faults.append(
            f"{place}: the first chooses the best weights while students are trained, and "
            f"{settings.metrics[0]} is of texts, which are written after that; put "
            f"{' or '.join(rest)} before it"
        )
    return faults
