"""The docstring corpus: what becomes a sentence, what is masked, and where it goes."""

import importlib
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.core.errors import DataError
from pipeline.text.docstrings import ALIASES, DEFAULT_LIBRARIES, hide_labels, read_docstrings

SPLITS = ("train", "validation", "test")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of installed packages; its own path looks like one of tests."""
    folder = tmp_path / "tests" / "site"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(site: Path, library: str, files: Mapping[str, str]) -> None:
    """Write a package whose files hold these docstrings, and which cannot be imported."""
    for name, docstring in {"__init__.py": "", **files}.items():
        path = site / library / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'r"""{docstring}"""\nraise ImportError\n', encoding="utf-8")
    importlib.invalidate_caches()


def texts(corpus: Mapping[str, pa.Table]) -> list[str]:
    """Return the texts of all splits, sorted."""
    return sorted(text for table in corpus.values() for text in table["text"].to_pylist())


def read_one(site: Path, docstring: str) -> list[str]:
    """Return the sentences of a library that has this one docstring."""
    install(site, "quagga", {"only.py": docstring})
    return texts(read_docstrings(["quagga"]))


def numbered(verb: str, n_files: int) -> dict[str, str]:
    """Return files with two sentences each that no other file has."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    files = {}
    for number in range(n_files):
        word = letters[number // 676] + letters[number // 26 % 26] + letters[number % 26]
        files[f"part_{number}.py"] = (
            f"To {verb} a zebra needs the tool {word}. No {word} was seen to {verb} twice today."
        )
    return files


def tool_of(text: str) -> str:
    """Return the word that tells the files of `numbered` apart."""
    return text.split()[1 if text.startswith("No") else -1].strip(".")


def test_missing_libraries_are_all_named() -> None:
    """Only the first missing library is reported, or find_spec's None ends in a traceback."""
    with pytest.raises(DataError, match=r"no installed package 'quagga', 'os\.path'") as caught:
        read_docstrings(["quagga", "os.path", "pyarrow"])
    assert "'pip install'" in str(caught.value)
    assert "data.docstrings.libraries" in str(caught.value)


def test_a_mere_folder_is_no_library(site: Path) -> None:
    """A folder that happens to lie on the path passes for an installed package."""
    (site / "quagga").mkdir()
    importlib.invalidate_caches()
    with pytest.raises(DataError, match="no installed package 'quagga'"):
        read_docstrings(["quagga"])


def test_a_library_without_sentences_is_an_error(site: Path) -> None:
    """A label that no row has goes unnoticed until the classifier is built."""
    install(site, "quagga", {"only.py": "Too short."})
    install(site, "okapi", {"only.py": "The striped animal eats the grass of the plain."})
    with pytest.raises(DataError, match="docstrings of 'quagga' hold no sentence"):
        read_docstrings(["quagga", "okapi"])


def test_libraries_are_not_imported(site: Path) -> None:
    """Reading runs the library's code: slow, and a failure where its import fails."""
    assert read_one(site, "The striped animal eats the grass of the plain.")
    with pytest.raises(DataError, match=r"no installed package 'quagga\.only'"):
        read_docstrings(["quagga.only"])
    assert "quagga" not in sys.modules


def test_columns(site: Path) -> None:
    """The tables lack a split or a column that the token stage expects."""
    install(site, "quagga", numbered("feed", 60))
    corpus = read_docstrings(["quagga"])
    assert tuple(corpus) == SPLITS
    for table in corpus.values():
        assert table.schema == pa.schema([("text", pa.string()), ("label", pa.string())])
        assert set(table["label"].to_pylist()) == {"quagga"}


def test_docstrings_of_all_owners(site: Path) -> None:
    """Methods, nested or conditional functions are missed, or other strings are taken."""
    install(site, "quagga", {})
    (site / "quagga" / "owners.py").write_text(
        '''"""The docstring of the module is the first of them all."""
NOTE = """This string is no docstring since it is the value of a name."""
class Animal:
    """The docstring of the class stands below its first line."""
    async def feed(self):
        """The docstring of the method is for those who call it."""
        def chew():
            """The docstring of the inner function is hidden from most readers."""
if NOTE:
    try:
        def drink():
            """The docstring of the guarded function depends on a condition."""
    except ImportError:
        """This string is no docstring since it stands in a handler."""
''',
        encoding="utf-8",
    )
    found = texts(read_docstrings(["quagga"]))
    assert [text.split()[4] for text in found] == ["class", "guarded", "inner", "method", "module"]


def test_code_and_markup_are_left_out(site: Path) -> None:
    """Code, tables, headings or markup reach the text, or prose is lost along with them."""
    found = read_one(
        site,
        """Feed the animal with `Grass` and **much** of :class:`~farm.Hay` every day.

    It eats :ref:`what it finds <food>` and [drinks](drinks.md) ``water`` at night [1]_. See
    e.g. Smith on the matter of eating too much. For more see https://example.org/ at the end.

    Parameters
    ----------
    animal : Animal, optional The Animal That Is Fed By This Function.
        The animal that is fed by this very function.
    amount (int): The amount of grass in kilograms
        that is fed to it each day.
    :param where: The place of the meal within the whole park.

    .. note:: The animal bites those who feed it
       with too little grass each day.

    .. versionchanged:: 1.2
        The amount is now in kilograms instead of pounds.

    .. code-block:: python

        This Line Is Code And Must Not Be Read.

    Here is how to feed it in the evening. An example::

        This Literal Block Is Code And Must Not Be Read.

    >>> print("This Line Is A Doctest And Must Not Be Read.")
    This Line Is Output And Must Not Be Read.

    ```
    This Fenced Line Is Code And Must Not Be Read.
    ```

    =====  =====================================================
    Food   This Row Of A Table Must Not Be Read Here.
    Hay      This Row Of A Table Must Not Be Read Here Either.
    =====  =====================================================

    * The first item of the list goes on
      in a second line that belongs to it.
    * A {placeholder} that is to be filled in must not be read.

    .. [1] The Literature Is No Prose And Must Not Be Read.
    """.replace("Food   This Row Of", "Food     This Row Of"),
    )
    assert found == sorted(
        [
            "Feed the animal with Grass and much of Hay every day.",
            "It eats what it finds and drinks water at night [1].",
            "See e.g. Smith on the matter of eating too much.",
            "The animal that is fed by this very function.",
            "The amount of grass in kilograms that is fed to it each day.",
            "The place of the meal within the whole park.",
            "The animal bites those who feed it with too little grass each day.",
            "The amount is now in kilograms instead of pounds.",
            "Here is how to feed it in the evening.",
            "The first item of the list goes on in a second line that belongs to it.",
        ]
    )


@pytest.mark.parametrize(
    "docstring",
    [
        "Six words are not enough here.",
        "The " + "very " * 60 + "long sentence.",
        "a line that begins in the midst of something else.",
        "A heading that has no full stop at its end",
        "Compute f(x) = (1 + 2) * (3 - 4) / 5 ** 6 % 7 of it.",
    ],
)
def test_what_is_no_sentence_is_dropped(site: Path, docstring: str) -> None:
    """Fragments, headings, formulas or whole paragraphs pass for a sentence."""
    kept = "The striped animal eats the grass of the plain."
    assert read_one(site, f"{docstring}\n\n{kept}") == [kept]


@pytest.mark.parametrize("name", ["tests/a.py", "test_a.py", "_vendor/a.py", "externals/b/a.py"])
def test_foreign_files_are_skipped(site: Path, name: str) -> None:
    """A vendored package is labelled as its host, or the path above the library matters."""
    install(
        site,
        "quagga",
        {
            "own/testimony.py": "The striped animal eats the grass of the plain.",
            name: "The spotted animal eats the leaves of the trees.",
        },
    )
    assert texts(read_docstrings(["quagga"])) == ["The striped animal eats the grass of the plain."]


def test_files_that_do_not_parse_are_skipped(site: Path) -> None:
    """One template or file for a newer Python stops the whole reading."""
    install(site, "quagga", {"good.py": "The striped animal eats the grass of the plain."})
    (site / "quagga" / "bad.py").write_text('"""The spotted animal eats leaves."""\ndef {{ x }}\n')
    (site / "quagga" / "null.py").write_bytes(b'"""The spotted animal eats leaves."""\n\0')
    (site / "quagga" / "code.py").write_bytes(b'"""The spotted animal \xff eats leaves."""\n')
    assert len(texts(read_docstrings(["quagga"]))) == 1


def test_a_warning_does_not_drop_a_file(site: Path) -> None:
    """An odd escape makes a file unparsable where warnings are errors, as they are here."""
    install(site, "quagga", {})
    (site / "quagga" / "odd.py").write_text(
        'PATTERN = "\\d"\ndef f():\n    """The striped animal eats the grass of the plain."""\n'
    )
    assert len(texts(read_docstrings(["quagga"]))) == 1


@pytest.mark.parametrize(
    ("libraries", "written", "masked"),
    [
        (["quagga"], "Quagga and QUAGGA's", "library and library's"),
        (["quagga"], "PyQuagga, quagga.nn, QuaggaScript", "library, library.nn, library"),
        (["quagga"], "quagga_dtype and re-quagga", "library_dtype and re-library"),
        (["quagga", "gnu"], "Gnu of quagga but gnus", "library of library but gnus"),
        (["quagga", "sklearn"], "Scikit-Learn or scikits.learn", "library-Learn or library.learn"),
        (["quagga", "numpy"], "NumPy, np.array and input", "library, library.array and input"),
        (["quagga", "transformers"], "Hugging Face's, HuggingFace", "library's, library"),
        (["quagga", "sentence_transformers"], "Sentence Transformers", "library"),
        (["quagga"], "NumPy and np", "NumPy and np"),
    ],
)
def test_names_are_masked(
    site: Path, monkeypatch: pytest.MonkeyPatch, libraries: list[str], written: str, masked: str
) -> None:
    """The text names its label (in some spelling), or a harmless word is torn apart."""
    for n_legs, library in zip(("Two", "Four"), libraries, strict=False):
        monkeypatch.delitem(sys.modules, library, raising=False)  # the fake one is meant
        install(site, library, {"own.py": f"{n_legs} legs are enough for such an animal."})
    install(site, "quagga", {"only.py": f"You can read on {written} in the old books."})
    assert f"You can read on {masked} in the old books." in texts(read_docstrings(libraries))


def test_shared_sentences(site: Path) -> None:
    """A sentence has two labels, or is in train and in test, or differs in its case alone."""
    files = numbered("feed", 40)
    ours = {name: f"{text}\n\nThe animal eats 3 times a day." for name, text in files.items()}
    ours |= {f"upper_{name}": "THE ANIMAL EATS 4 TIMES A DAY." for name in files}
    theirs = numbered("hunt", 40)
    install(site, "quagga", {**ours, "both.py": "You must see Quagga before you feed it."})
    install(site, "okapi", {**theirs, "both.py": "You must see okapi before you feed IT."})
    found = texts(read_docstrings(["quagga", "okapi"]))
    assert len(found) == 2 * 40 + 2 * 40 + 1
    assert sum("times a day" in text.lower() for text in found) == 1
    assert not [text for text in found if text.startswith("You must see")]


def test_splits_follow_files(site: Path) -> None:
    """Sentences of one file are on both sides of a split, or a split has the wrong size."""
    install(site, "quagga", numbered("feed", 1000))
    corpus = read_docstrings(["quagga"])
    files = {
        split: Counter(map(tool_of, table["text"].to_pylist())) for split, table in corpus.items()
    }
    assert all(set(counts.values()) == {2} for counts in files.values())
    # Six standard deviations of a binomial count are 76 for train and 57 for the others.
    assert abs(len(files["train"]) - 800) < 76
    assert abs(len(files["validation"]) - 100) < 57
    assert sum(map(len, files.values())) == 1000


def test_heads_are_balanced_and_mixed(site: Path) -> None:
    """A head of a split holds one library, or the first files of the folder only."""
    install(site, "quagga", numbered("feed", 300))
    install(site, "okapi", numbered("hunt", 30))
    train = read_docstrings(["quagga", "okapi"])["train"]
    n_okapi = train["label"].to_pylist().count("okapi")
    assert n_okapi > 20
    for n_rows in (10, 2 * n_okapi):
        head = Counter(train["label"].to_pylist()[:n_rows])
        assert head["okapi"] == head["quagga"] == n_rows // 2
    assert "okapi" not in train["label"].to_pylist()[2 * n_okapi :]
    quagga = [row["text"] for row in train.to_pylist() if row["label"] == "quagga"]
    # In the order of files, 60 rows would come from 30 files; a fair draw gives some 56.
    assert len({tool_of(text) for text in quagga[:60]}) > 45
    assert quagga != sorted(quagga)


def test_order_of_files_and_libraries_does_not_matter(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file system, or the libraries in another order, give other rows."""
    files = numbered("feed", 50)
    files |= {f"copy_{name}": text.upper() for name, text in files.items()}
    install(site, "quagga", files)
    install(site, "okapi", numbered("hunt", 50))
    corpus = read_docstrings(["quagga", "okapi"])
    list_files = Path.rglob
    monkeypatch.setattr(
        Path, "rglob", lambda folder, pattern: sorted(list_files(folder, pattern), reverse=True)
    )
    assert read_docstrings(["okapi", "quagga"]) == corpus
    monkeypatch.setattr(Path, "rglob", lambda folder, pattern: sorted(list_files(folder, pattern)))
    assert read_docstrings(["okapi", "quagga"]) == corpus


def labelled(n_labelled: int, seed: int = 0, table: pa.Table | None = None) -> dict[str, str]:
    """Return the label by text of the rows that keep theirs."""
    table = SENTENCES if table is None else table
    hidden = hide_labels(table, n_labelled, seed)
    assert hidden["text"] == table["text"] and hidden.schema == table.schema
    return {row["text"]: row["label"] for row in hidden.to_pylist() if row["label"] is not None}


SENTENCES = pa.table(
    {
        "text": [f"sentence {number}" for number in range(60)],
        "label": [("okapi", "quagga", "quagga")[number % 3] for number in range(60)],
    }
)


def test_labels_are_hidden_but_for_a_balanced_few() -> None:
    """Catches a wrong number of labels, a label of another row, and a label that few rows have."""
    kept = labelled(11)
    assert Counter(kept.values()) in ({"okapi": 5, "quagga": 6}, {"okapi": 6, "quagga": 5})
    of_text = dict(zip(*SENTENCES.to_pydict().values(), strict=True))
    assert kept == {text: of_text[text] for text in kept}
    assert Counter(labelled(50).values()) == {"okapi": 20, "quagga": 30}
    assert labelled(60) == of_text


def test_labels_that_are_kept_follow_from_seed_and_texts_alone() -> None:
    """Catches a choice that differs from run to run, by the order of rows, or by no seed at all;
    and one of more labels that throws away those that were there."""
    assert labelled(20) == labelled(20)
    assert labelled(20) == labelled(20, table=SENTENCES.take(list(reversed(range(60)))))
    assert labelled(20).items() < labelled(30).items()
    assert labelled(20) != labelled(20, seed=1)


def test_more_labels_than_sentences_are_refused() -> None:
    """Catches a number of labels that is not what the settings say."""
    with pytest.raises(DataError, match=r"n_labelled is 61, but there are 60 training sentences"):
        hide_labels(SENTENCES, 61, seed=0)


def test_installed_libraries() -> None:
    """Real sources break what holds for tidy ones: leaks, names, or two different readings."""
    libraries = ["jinja2", "zarr"]
    corpus = read_docstrings(libraries)
    found = texts(corpus)
    assert len(found) > 1000
    assert len({text.lower() for text in found}) == len(found)
    labels = {label for table in corpus.values() for label in table["label"].to_pylist()}
    assert labels == set(libraries)
    assert not [text for text in found if "jinja2" in text.lower()]
    assert not [text for text in found if re.search("(?<![a-z])zarr(?![a-z])", text.lower())]
    assert not [text for text in found if re.search(">>>|`|://", text)]
    assert all(7 <= len(text.split()) <= 60 for text in found)
    assert corpus == read_docstrings(libraries)


def test_default_libraries_are_distinct_and_have_aliases() -> None:
    """A default library is listed twice, or nobody thought of its other names."""
    assert len(set(DEFAULT_LIBRARIES)) == len(DEFAULT_LIBRARIES) == 6
    assert not set(DEFAULT_LIBRARIES) - set(ALIASES)
