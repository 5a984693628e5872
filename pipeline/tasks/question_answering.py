"""Where in a text the answer to a question stands, if it does.

A row is a window, the question and as much of the text as fits; a text that is longer has
several, which are neighbours in the token table. The answer begins and ends with a token of
the window, or both with its first token where the window does not hold it (Devlin et al.
2019, 1810.04805, sections 4.2 and 4.3).
"""

from pipeline.tasks.task import Task

QUESTION_ANSWERING = Task(
    kind="question_answering",
    auto_class="AutoModelForQuestionAnswering",
    predicts="span",
    label_kind="answers",
    metrics=("answer_f1", "answer_exact_match"),
)
