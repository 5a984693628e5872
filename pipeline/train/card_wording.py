"""What model cards say about each kind of task, and how their code runs an exported student."""

from dataclasses import dataclass

from pipeline.tasks.task import Kind


@dataclass(frozen=True)
class Wording:
    """What the cards say about one kind of task."""

    hub_task: str
    """What the Hub calls it."""
    use: str
    """What a student does; {n_labels} and {labels} stand for those it has."""
    limit: str
    """Where it is wrong."""
    example: str = ""
    """Lines that print answers of an onnxruntime `session`, which was opened with `tokenizer`."""
    axes: str = "(batch, label)"
    """Of an exported student's logits."""


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

CARD_WORDING: dict[Kind, Wording] = {
    "classification": Wording(
        "text-classification",
        "It sorts texts like those it was trained on into {n_labels} labels: {labels}.",
        "It gives one of these labels to any text, also to one that none of them fits.",
        _NAME,
    ),
    "multi_label": Wording(
        "text-classification",
        "It gives texts like those it was trained on any of {n_labels} labels: {labels}.",
        "It knows no other labels than these.",
        _SEVERAL,
    ),
    "regression": Wording(
        "text-classification",
        "It gives texts like those it was trained on a number.",
        "It gives a number to any text, also to one that is like none it was trained on.",
        _NUMBER,
    ),
    "token_classification": Wording(
        "token-classification",
        "It gives each word of texts like those it was trained on one of {n_labels} labels: "
        "{labels}.",
        "It gives one of these labels to any word, also to one that none of them fits.",
        _WORDS,
        "(batch, token, label)",
    ),
    "multiple_choice": Wording(
        "multiple-choice",
        "It chooses among the answers to a question, for texts like those it was trained on.",
        "It chooses one of the answers, also where none of them is right.",
        _CHOICES,
        "(batch, 1), a row for each choice of a question",
    ),
    "question_answering": Wording(
        "question-answering",
        "It finds where the answer to a question stands in a text, for texts like those it was "
        "trained on.",
        "It answers in the words of the text alone; where no training question was without an "
        "answer, it gives one to any question.",
        _ANSWER,
        "(batch, token, 2), of the answer's first and of its last token",
    ),
    "masked_lm": Wording(
        "fill-mask",
        "It predicts the tokens that masks hide in texts like those it was trained on; it is also "
        "what models of other tasks start from.",
        "It puts a likely word into any gap, whether what it then says is true or not.",
        _MASKED,
        "(batch, token, token id), over the whole vocabulary",
    ),
    "sequence_to_sequence": Wording(
        "translation",
        "It writes a text for texts like those it was trained on, such as a translation or a "
        "summary.",
        "What it writes reads well where it is wrong, too.",
    ),
}
