"""A text that is to be written for another: a translation, a summary.

An encoder reads the one; a decoder is given each piece of the other and predicts the next
(Sutskever et al. 2014, 1409.3215, with the right pieces given: Williams & Zipser 1989).
"""

from pipeline.tasks.task import Task

SEQUENCE_TO_SEQUENCE = Task(
    kind="sequence_to_sequence",
    auto_class="AutoModelForSeq2SeqLM",
    predicts="piece",
    label_kind="target_text",
    metrics=("perplexity", "bleu", "chrf", "text_exact_match"),
)
