"""A student checkpoint that reads other tokens than the teacher, or the same."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from tests.conftest import BAD, GOOD, PLAIN, make_tokenizer

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
OWN_WORDS = sorted((*PLAIN, *GOOD, *BAD))
"""In another order than the teacher's, so that no id means the same."""
PAD_ID = 3
"""Not the teacher's 0."""


def make_other_tokenizer(folder: Path, *, model_max_length: int | None = None) -> None:
    """Save a tokenizer of whole words, with other ids, special tokens and padding."""
    order = ("</s>", "<unk>", "<s>", "<pad>")
    vocabulary = {word: number for number, word in enumerate((*order, *OWN_WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s> </s>",  # one token more than the teacher's rows have
        pair="<s> $A </s> </s> $B:1 </s>:1",
        special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])],
    )
    limit = {} if model_max_length is None else {"model_max_length": model_max_length}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        **limit,
    ).save_pretrained(folder)


def make_student_checkpoint(
    folder: Path,
    *,
    is_teachers_tokenizer: bool = False,
    labels: tuple[str, ...] = ("no", "yes"),
    n_positions: int = 64,
    model_max_length: int | None = None,
) -> Path:
    """Save a random BERT of two layers, half as wide as the teacher, with a tokenizer."""
    if is_teachers_tokenizer:
        make_tokenizer(folder)
    else:
        make_other_tokenizer(folder, model_max_length=model_max_length)
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=32,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=n_positions,
        pad_token_id=0 if is_teachers_tokenizer else PAD_ID,
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
        initializer_range=0.2,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
