"""Texts as numbers of words and of sentences, without the text being held."""

import hashlib
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError
from gatewright.tasks.data import reading
from gatewright.tasks.data.texts import word_texts as module
from gatewright.tasks.data.texts.text import clean, read_text
from gatewright.tasks.data.texts.vocabulary import CharVocabulary
from gatewright.tasks.data.texts.word_texts import load_sentences, load_words
from tests.tasks.data.formats import put

PARTS = {"train": " the cat sat \n the dog <unk> \n", "valid": " a cat ran \n", "test": " the end \n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PARTS.items():
        put(tmp_path / f"tiny.{name}.txt", text)
    return tmp_path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The parts as members, in another order and beside others, as in the archive of Mikolov's examples."""
    path = tmp_path / "simple-examples.tgz"
    with tarfile.open(path, "w:gz") as made:
        for name in ("test", "train", "char.train", "char.valid", "valid"):
            content = PARTS.get(name, " c h a r s \n").encode()
            entry = tarfile.TarInfo(f"./simple-examples/data/ptb.{name}.txt")
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("piece", [5, 1 << 20])
@pytest.mark.parametrize("source", ["folder", "archive"])
def test_words_of_three_parts(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, source: str, piece: int
) -> None:
    monkeypatch.setattr(reading, "PIECE", piece)
    monkeypatch.setattr(module, "BLOCK", 3)
    found = load_words(request.getfixturevalue(source))
    assert found.vocabulary.symbols == ("<unk>", "<eos>", "the", "cat", "dog", "sat")
    assert found.vocabulary.counts.tolist() == [1, 2, 2, 1, 1, 1]
    assert [found.vocabulary.decode(part) for part in found.parts] == [
        "the cat sat <eos> the dog <unk> <eos>",
        "<unk> cat <unk> <eos>",
        "the <unk> <eos>",
    ]
    assert all(part.dtype == np.uint16 for part in found.parts)


def test_a_smaller_vocabulary_and_no_ends_of_lines(folder: Path) -> None:
    found = load_words(folder, size=2, end_of_line=False)
    assert found.vocabulary.symbols == ("<unk>", "the")
    assert found.parts.train.tolist() == [1, 0, 0, 1, 0, 0]


def test_sentences_begin_and_end(folder: Path) -> None:
    found = load_sentences(folder, size=5)
    assert found.vocabulary.symbols == ("<unk>", "<s>", "</s>", "the", "cat")
    assert [[found.vocabulary.decode(part[place]) for place in range(len(part))] for part in found.parts] == [
        ["<s> the cat <unk> </s>", "<s> the <unk> <unk> </s>"],
        ["<s> <unk> cat <unk> </s>"],
        ["<s> the <unk> </s>"],
    ]


@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_only_the_training_part_of_one_text_makes_the_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(reading, "PIECE", piece)
    path = put(tmp_path / "mine.txt", "One two. " * 8 + "New words")
    words = load_words(path, validation=0.1, test=0.1)
    assert words.vocabulary.symbols == ("<unk>", ".", "one", "two")
    assert [words.vocabulary.decode(part) for part in words.parts] == [
        "one two . " * 6 + "one two .",  # 21 of 26 tokens; of the 5 that are held out 3 are the test
        "one two",
        ". <unk> <unk>",
    ]


@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_sentences_of_one_text_end_with_a_mark_or_an_empty_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(reading, "PIECE", piece)
    path = put(tmp_path / "mine.txt", 'One two!  3.5 is "more?" It\nis\n\nhere. \n')
    found = load_sentences(path, validation=0, test=0)
    shown = [found.vocabulary.decode(found.parts.train[place]) for place in range(len(found.parts.train))]
    assert shown == [
        "<s> one two ! </s>",
        '<s> 3 . 5 is " more ? " </s>',
        "<s> it is </s>",
        "<s> here . </s>",
    ]
    assert len(found.parts.validation) == len(found.parts.test) == 0


def test_sentences_of_one_text_are_held_out_from_its_end(tmp_path: Path) -> None:
    found = load_sentences(put(tmp_path / "mine.txt", "One. " * 8 + "Two. Three"), validation=0.1, test=0.1)
    assert [len(part) for part in found.parts] == [8, 1, 1]
    assert found.vocabulary.symbols == ("<unk>", "<s>", "</s>", ".", "one")
    assert found.vocabulary.decode(found.parts.validation[0]) == "<s> <unk> . </s>"
    assert found.vocabulary.decode(found.parts.test[0]) == "<s> <unk> </s>"


def test_words_and_sentences_may_be_divided_as_is_asked(folder: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "mine.text", "It's. A\n" * 20)
    assert load_words(path, tokenise="spaces").vocabulary.symbols == ("<unk>", "<eos>", "A", "It's.")
    lines = load_sentences(path, divided="lines")
    assert lines.vocabulary.decode(lines.parts.train[0]) == "<s> it's . a </s>"
    assert "unk" in load_words(folder, tokenise="words").vocabulary


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), (" \n \n", "holds no words to train on")])
def test_a_text_without_words_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path / "mine.txt", text)
    with pytest.raises(DataError, match=message):
        load_words(path, end_of_line=False)
    with pytest.raises(DataError, match=message):
        load_sentences(path)


def test_a_part_that_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "tiny.valid.txt").unlink()
    with pytest.raises(DataError) as caught:
        load_words(folder)
    assert str(caught.value) == (
        "there is no file of the part 'valid' (such as ptb.valid.txt)\n  got: tiny.test.txt, tiny.train.txt"
    )


def test_an_archive_without_a_part_is_an_error(archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as made:
        made.addfile(tarfile.TarInfo("ptb.train.txt"), io.BytesIO())
    with pytest.raises(
        DataError, match="simple-examples.tgz has no part 'valid'\n  expected: a member such as ptb.val"
    ):
        load_words(archive)


def test_another_encoding_is_told_with_its_line(folder: Path) -> None:
    (folder / "tiny.train.txt").write_bytes(b"the cat\ncaf\xe9\n")
    for load in (load_words, load_sentences):
        with pytest.raises(DataError, match="tiny.train.txt is not UTF-8 text\n.*\n.*in line 2 "):
            load(folder)


def test_a_set_of_another_kind_is_no_text() -> None:
    with pytest.raises(
        DataError, match="data set 'jsb' is of another kind\n  expected: words or text: one of ptb, python"
    ):
        load_words("jsb")
    with pytest.raises(DataError, match="'nowhere' is neither a data set nor a file"):
        load_sentences("nowhere")


def test_of_a_long_text_little_more_than_its_numbers_is_held(tmp_path: Path) -> None:
    path = put(tmp_path / "long.txt", b"all work and no play\n" * 400_000)
    tracemalloc.start()
    load_words(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held = 2.4e6 * (4 + 2)
    pieces = 20 * reading.PIECE  # a piece, and the arrays by which its words become numbers
    assert peak < 1.02 * held + pieces + 15e6


def test_the_penn_treebank_has_its_published_sizes(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    words = load_words("ptb")
    assert [len(part) for part in words.parts] == [929_589, 73_760, 82_430]
    assert len(words.vocabulary) == 10_000
    assert dict(zip(words.vocabulary.symbols[:4], words.vocabulary.counts.tolist()[:4], strict=True)) == {
        "<unk>": 45_020,
        "the": 50_770,
        "<eos>": 42_068,
        "N": 32_481,
    }
    sentences = load_sentences("ptb", size=8000)
    assert [len(part) for part in sentences.parts] == [42_068, 3_370, 3_761]
    assert len(sentences.vocabulary) == 8000
    assert sentences.parts.train.steps == 929_589 + 42_068


def test_the_time_machine_and_shakespeare_are_the_published_ones(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    book = clean(read_text("timemachine"), "d2l")
    assert (len(book), len(CharVocabulary.from_text(book, unknown=True))) == (170_580, 28)
    plays = read_text("shakespeare")
    assert (len(plays), len(CharVocabulary.from_text(plays, unknown=True))) == (1_115_394, 66)
    assert hashlib.sha256(plays.encode()).hexdigest().startswith("86c4e6aa9db7c042")
    assert len(read_text("python-docs")) > 300_000
