"""A BERT that knows nothing, for texts in a language that no checkpoint at hand reads.

Its word pieces are learned from the texts, its weights are drawn at random: what `finetune` makes
of it is a teacher from scratch. `RESULTS.md` says which results are such a teacher's. The
tokenizers library breaks ties between pieces by chance, so that a few of them differ from run to
run.
"""

from pathlib import Path

import click
import torch
from tokenizers.implementations import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

from pipeline.text.files import read_table

MAX_LENGTH = 128


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--text", default="text", show_default=True, help="The column of FILE.")
@click.option("--pieces", default=6000, show_default=True, help="The most word pieces to learn.")
@click.option("--layers", default=6, show_default=True)
@click.option("--hidden-size", default=256, show_default=True)
@click.option("--heads", default=4, show_default=True)
def main(
    file: Path, folder: Path, text: str, pieces: int, layers: int, hidden_size: int, heads: int
) -> None:
    """Write a tokenizer that is learned from the texts of FILE, and random weights, to FOLDER."""
    learned = BertWordPieceTokenizer(lowercase=True)
    texts = read_table(file)[text].to_pylist()
    learned.train_from_iterator(
        texts, vocab_size=pieces, limit_alphabet=pieces, min_frequency=2, show_progress=False
    )
    tokenizer = BertTokenizerFast(tokenizer_object=learned._tokenizer, model_max_length=MAX_LENGTH)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=MAX_LENGTH,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertModel(config)
    model.save_pretrained(folder)
    click.echo(f"{folder}: {len(tokenizer):,} word pieces, {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main()
