"""Which word pieces masks hide, in texts without any label.

Devlin et al. 2019, 1810.04805, section 3.1. The masks are drawn once, when the texts become
tokens, so that teacher and students see the same.
"""

from pipeline.tasks.task import Task

MASKED_LM = Task(
    kind="masked_lm",
    auto_class="AutoModelForMaskedLM",
    predicts="piece",
    label_kind="masked",
    metrics=("perplexity", "accuracy"),
)
