"""One label for each text or pair of texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import pyarrow as pa

from pipeline.tasks.class_labels import ClassLabels, class_numbers
from pipeline.tasks.columns import Columns
from pipeline.text.columns import ColumnSettings, without_blanks, without_mark
from pipeline.text.corpus import Corpus
from pipeline.text.source import Source, is_named


@final
@dataclass(frozen=True)
class Classification(ClassLabels):
    """One label for each text or pair of texts.

    In the source a string, dictionary-encoded where the source names its classes; in the table
    the number of a class.
    """

    metrics: tuple[str, ...] = ("accuracy", "macro_f1", "expected_calibration_error")

    kind = "classification"
    auto_class = "AutoModelForSequenceClassification"
    problem_type = "single_label_classification"
    predicts = "row"
    has_one_class = True
    columns = Columns(("text", "label"), ("text_pair", "labels", "unlabelled"))
    reads_docstrings = True
    label_kind = "name"
    label_type = pa.int64()

    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return names, dictionary-encoded where the source names its classes."""
        (theirs,) = self.label_columns(columns)
        column = source.column("label", theirs)
        if is_named(column.type):
            return without_mark(column, columns.unlabelled)
        return without_blanks(without_mark(source.strings("label", theirs), columns.unlabelled))

    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return the number of each row's class."""
        encoded = {}
        for split, table in corpus.items():
            values = table["label"].to_pylist()
            numbers = class_numbers(values, range(len(values)), names, mapping, split)
            encoded[split] = pa.array(numbers, pa.int64())
        return encoded

    def count_labels(self, labels: pa.Array, n_names: int) -> Counter[int]:
        """Return how many rows have each label."""
        return Counter(labels.to_pylist())


CLASSIFICATION = Classification()
