"""The peak memory of capturing and judging a masked language model with a large vocabulary.

Rows of 512 tokens, of which 15 % are asked for, and 50,000 word pieces; the models are small and
random, so that nearly all of the memory is the vocabulary's. Each size runs in a process of its
own; the last column is what a table of all logits alone would take.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.processes import Processes
from pipeline.core.settings import parse_section
from pipeline.models.head import load_trained
from pipeline.models.inputs import Inputs, ModelRows
from pipeline.models.predict import predict
from pipeline.tasks.masked_lm import MASKED_LM
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.teacher.capture import capture
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokens import Tokens, open_tokens

N_PIECES, N_TOKENS = 50_000, 512
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@click.command()
@click.option("--rows", "counts", multiple=True, type=int, default=(32, 256))
@click.option("--one", type=int, help="Take so many rows in this process.")
def main(counts: tuple[int, ...], one: int | None) -> None:
    """Print a table of peak memory by number of rows."""
    if one is not None:
        click.echo(_row(one))
        return
    click.echo("| rows | word pieces asked for | at first, MiB | peak, MiB | all logits, MiB |")
    click.echo("|---|---|---|---|---|")
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.vocabulary_memory", "--one", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        click.echo(done.stdout.strip().splitlines()[-1])


def _row(n_rows: int) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        teacher = _make_teacher(folder / "teacher")
        tokens = _make_tokens(folder, n_rows)
        student = load_trained(teacher, MASKED_LM)
        before = _peak_mib()
        capture(
            teacher,
            tokens,
            MASKED_LM,
            CaptureSettings.model_validate({"signals": {"cls": None}}),
            folder / "store",
            device=torch.device("cpu"),
            batch_tokens=4096,
            processes=Processes(),
        )
        split = tokens.splits["train"]
        rows = ModelRows(split, load_tokenizer(teacher), Inputs(0, has_token_types=True))
        predict(student, rows, MASKED_LM, ())
        n_targets = len(split.labels)
        whole = n_targets * N_PIECES * 4 / 2**20
        return (
            f"| {len(split)} | {n_targets:,} | {before:,.0f} | {_peak_mib():,.0f} | {whole:,.0f} |"
        )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _make_teacher(folder: Path) -> Path:
    words = {word: number for number, word in enumerate(SPECIAL)}
    words |= {f"w{number}": number for number in range(len(SPECIAL), N_PIECES)}
    rules = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    rules.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=rules,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=N_PIECES,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=N_TOKENS,
    )
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def _make_tokens(folder: Path, n_rows: int) -> Tokens:
    data = folder / "data"
    data.mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", n_rows), ("validation", 2)):
        words = generator.integers(len(SPECIAL), N_PIECES, (count, N_TOKENS - 3))
        lines = [json.dumps({"text": " ".join(f"w{word}" for word in row)}) for row in words]
        (data / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    section = {"source": "files", "path": str(data), "columns": {"text": "text"}}
    corpus = read_corpus(parse_section(DataSettings, section, "data"), MASKED_LM.read)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "teacher")
    (folder / "tokens").mkdir()
    write_tokens(corpus, MASKED_LM, (), None, Tokenising(tokenizer, N_TOKENS), folder / "tokens")
    return open_tokens(folder / "tokens")


if __name__ == "__main__":
    main()
