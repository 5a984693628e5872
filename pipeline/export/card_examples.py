"""How to run an exported student with onnxruntime, as code for its card."""

from pipeline.tasks.task import Task

_SOME_TEXTS = """\
texts = ["A first text.", "And another one, which is a little longer."]
inputs = tokenizer(
    texts,
    padding=True,
    truncation=True,
    max_length=int(metadata["max_length"]),
    return_tensors="np",
)
(logits,) = session.run(["logits"], dict(inputs))
"""

_NAME = (
    _SOME_TEXTS
    + """\
odds = np.exp(logits - logits.max(axis=1, keepdims=True))
probabilities = odds / odds.sum(axis=1, keepdims=True)
for text, row in zip(texts, probabilities):
    print(f"{labels[row.argmax()]} ({row.max():.0%}): {text}")
"""
)

_SEVERAL = (
    _SOME_TEXTS
    + """\
probabilities = 1 / (1 + np.exp(-logits))
for text, row in zip(texts, probabilities):
    print(", ".join(f"{name} ({p:.0%})" for name, p in zip(labels, row) if p > 0.5), text)
"""
)

_NUMBER = (
    _SOME_TEXTS
    + """\
for text, (number,) in zip(texts, logits):
    print(f"{number:.3f}: {text}")
"""
)

_WORDS = """\
words = ["A", "text", "in", "words", "."]
inputs = tokenizer(
    [words],
    is_split_into_words=True,
    truncation=True,
    max_length=int(metadata["max_length"]),
    return_tensors="np",
)
(logits,) = session.run(["logits"], dict(inputs))
word_of = inputs.word_ids(0)
for number, word in enumerate(words):
    if number in word_of:  # at its first piece
        row = logits[0, word_of.index(number)]
        print(f"{labels[row.argmax()]}: {word}")
"""

_CHOICES = """\
text, question = "The text that the question is about.", "What is it about?"
choices = ["One answer.", "Another one, which is a little longer."]
inputs = tokenizer(
    [text] * len(choices),
    [f"{question} {choice}" for choice in choices],
    padding=True,
    truncation="only_first",
    max_length=int(metadata["max_length"]),
    return_tensors="np",
)
(logits,) = session.run(["logits"], dict(inputs))
odds = np.exp(logits[:, 0] - logits.max())
for choice, share in zip(choices, odds / odds.sum()):
    print(f"{share:.0%}: {choice}")
"""

_ANSWER = """\
question, text = "Where is the answer?", "The answer stands in this text."
inputs = tokenizer(
    question,
    text,
    truncation="only_second",
    max_length=int(metadata["max_length"]),
    return_offsets_mapping=True,
    return_tensors="np",
)
(places,) = inputs.pop("offset_mapping")
(logits,) = session.run(["logits"], dict(inputs))
best = max(
    (logits[0, first, 0] + logits[0, last, 1], first, last)
    for first in range(len(places))
    for last in range(first, min(first + 30, len(places)))
    if inputs.sequence_ids(0)[first] == inputs.sequence_ids(0)[last] == 1
)
print(text[places[best[1]][0] : places[best[2]][1]])
"""

_MASKED = """\
text = f"A text with one {tokenizer.mask_token} in it."
inputs = tokenizer(
    text, truncation=True, max_length=int(metadata["max_length"]), return_tensors="np"
)
(logits,) = session.run(["logits"], dict(inputs))
for place in np.flatnonzero(inputs["input_ids"][0] == tokenizer.mask_token_id):
    odds = np.exp(logits[0, place] - logits[0, place].max())
    for piece in odds.argsort()[::-1][:5]:
        print(f"{odds[piece] / odds.sum():.0%}: {tokenizer.convert_ids_to_tokens(int(piece))}")
"""


def example_of(task: Task) -> str:
    """Return lines that print answers of `session`, which was opened with `tokenizer`."""
    if task.predicts == "token":
        return _WORDS
    if task.predicts == "choice":
        return _CHOICES
    if task.predicts == "span":
        return _ANSWER
    if task.predicts == "piece":
        return _MASKED
    if task.predicts == "label":
        return _SEVERAL
    return _NUMBER if task.predicts_numbers else _NAME


def axes_of(task: Task) -> str:
    """Return the axes of an exported student's logits."""
    return {
        "token": "(batch, token, label)",
        "span": "(batch, token, 2), of the answer's first and of its last token",
        "piece": "(batch, token, piece), over the whole vocabulary",
        "choice": "(batch, 1), a row for each choice of a question",
    }.get(task.predicts, "(batch, label)")
