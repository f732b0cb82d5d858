"""Files of tokens in columns, and sentences with tags from files and from memory."""

from pathlib import Path

import pytest

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns
from gatewright.tasks.data.tags.conll_file import read_columns
from gatewright.tasks.data.tags.sentences import load_tagged_sentences, load_to_measure, sentences_in_memory

NER = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

# NN I-NP O
\t
Peter NNP I-NP I-PER
"""
CONLLU = """# newdoc id = one
# text = vámonos al mar

1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
2.1\tya\tya\tADV\t_\t_\t_\t_\t_\t_
3\t10 000\t10 000\tNUM\t_\t_\t1\tobj\t_\t_

# sent_id = 2
1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_
"""


def written(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def loaded(path: Path, **options: str) -> tuple[list[tuple[tuple[str, ...], tuple[str, ...]]], str]:
    """All sentences of a file with their tags."""
    parts = load_to_measure(path, StepColumns(**options))
    return list(zip(parts["test"].tokens, parts["test"].tags, strict=True)), parts["test"].scheme


def test_columns_with_spaces(tmp_path: Path) -> None:
    sentences, scheme = loaded(written(tmp_path, "eng.txt", NER))
    assert sentences == [
        (("EU", "rejects"), ("I-ORG", "O")),
        (("#",), ("O",)),
        (("Peter",), ("I-PER",)),
    ]
    assert scheme == "IOB1"
    assert loaded(tmp_path / "eng.txt", label="2")[0][0][1] == ("NNP", "VBZ")


def test_conllu(tmp_path: Path) -> None:
    path = written(tmp_path, "es.conllu", CONLLU)
    assert loaded(path) == (
        [(("vamos", "nos", "10 000"), ("VERB", "PRON", "NUM")), (("#",), ("SYM",))],
        "none",
    )
    assert loaded(path, text="lemma", label="deprel")[0][0] == (("ir", "nosotros", "10 000"), ("root", "obj", "obj"))


def test_a_header_an_index_and_comments(tmp_path: Path) -> None:
    text = "# id 1\ntoken\tner\tx\nAda\tB-PER\t1\n\n# id 2 domain=en\n#tag\tO\t2\n"
    assert loaded(written(tmp_path, "a.tsv", text))[0] == [(("Ada",), ("B-PER",)), (("#tag",), ("O",))]
    numbered = "1 Ada X\n2 writes Y\n\n1 She X\n"
    assert loaded(written(tmp_path, "b.txt", numbered))[0] == [(("Ada", "writes"), ("X", "Y")), (("She",), ("X",))]


def test_parts_by_the_names_of_files(tmp_path: Path) -> None:
    for name in ("en-ud-train.conllu", "en-ud-dev.conllu", "en-ud-test.conllu"):
        written(tmp_path / "ud", name, CONLLU)
    written(tmp_path / "ud", "en-ud-train.txt", "plain text")
    written(tmp_path / "ud", "README.md", "about")
    parts, columns = load_tagged_sentences(tmp_path / "ud")
    assert [len(part) for part in parts] == [2, 2, 2]
    assert columns.remark == "text: form, label: upos (4 labels: VERB, PRON, NUM, SYM)"
    for name in ("eng.train", "eng.testa", "eng.testb"):
        written(tmp_path / "ner", name, NER * (1 + (name == "eng.testa")))
    parts, columns = load_tagged_sentences(tmp_path / "ner")
    assert [len(part) for part in parts] == [3, 6, 3]
    assert columns.remark == "text: column 1 of 4, label: column 4 of 4 (3 labels: O, I-ORG, I-PER)"


def test_parts_that_lack_are_held_out(tmp_path: Path) -> None:
    path = written(tmp_path, "all.conll", "\n\n".join(f"word{place} X" for place in range(20)))
    parts, _ = load_tagged_sentences(path, validation=0.1, test=0.2, seed=1)
    assert [len(part) for part in parts] == [14, 2, 4]
    assert len({tokens for part in parts for tokens in part.tokens}) == 20


def test_sentences_in_memory() -> None:
    pairs = [(["Ada", "writes"], ["B-PER", "O"]), (["She"], ["O"])]
    assert sentences_in_memory(pairs) == sentences_in_memory(([["Ada", "writes"], ["She"]], [["B-PER", "O"], ["O"]]))
    assert sentences_in_memory(pairs).tags == (("B-PER", "O"), ("O",))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "short.conll",
            "Ada B-PER\nwrites O\nlate\n",
            (
                "{path}, line 3: a row has 1 column\n"
                "  expected: 2, as in the first row; an empty line stands between sentences\n"
                "  got: 'late'"
            ),
        ),
        (
            "tokens.conll",
            "Ada\nwrites\n",
            (
                "{path} has no column of labels\n"
                "  expected: a token and its label in each line, with a space or a tab between them\n"
                "  got: one column: 'Ada' in line 1"
            ),
        ),
        (
            "empty.conll",
            "\n# nothing\n",
            (
                "{path} holds no tokens\n"
                "  expected: a token a line with its columns, and an empty line after each sentence\n"
                "  got: comments and empty lines"
            ),
        ),
        (
            "swapped.conll",
            "".join(f"X word{place}\n" for place in range(50)),
            (
                "{path}: column '2' holds 50 different labels for 50 tokens\n"
                "  expected: a column with one of a few labels for each token\n"
                "  got: 'word0', 'word1', 'word2', 'word3', 'word4'\n"
                "  do: name the column of the labels with the setting label=..."
            ),
        ),
        ("gap.conll", "Ada\tX\n\tY\n", "{path}, line 2: column 1 is empty"),
    ],
)
def test_what_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(DataError) as caught:
        load_tagged_sentences(path)
    assert str(caught.value) == message.format(path=path)


def test_a_column_that_there_is_not(tmp_path: Path) -> None:
    path = written(tmp_path, "eng.txt", NER)
    with pytest.raises(DataError) as caught:
        load_tagged_sentences(path, StepColumns(label="ner"))
    assert caught.value.in_shell() == (
        f"{path} has no column 'ner'\n  expected: one of 1, 2, 3, 4\n"
        "  do: name another column with --set text=... label=..."
    )


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    file = read_columns(written(tmp_path, "eng.txt", NER))
    assert file.lines == ((3, 4), (6,), (8,))


def test_other_encodings_and_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes("wort art\nGödel NOUN\nwählt VERB\n\nKöln NOUN\n".encode("utf-16"))
    settings = {"header": "yes", "text": "wort", "label": "art"}
    assert loaded(path, **settings)[0] == [(("Gödel", "wählt"), ("NOUN", "VERB")), (("Köln",), ("NOUN",))]
    path.write_bytes("Gödel NOUN\nwählt VERB\n".encode("cp1252"))
    assert loaded(path, encoding="cp1252")[0] == [(("Gödel", "wählt"), ("NOUN", "VERB"))]


def test_a_pair_that_does_not_fit() -> None:
    with pytest.raises(DataError) as caught:
        sentences_in_memory([(["Ada"], ["X"]), (["She", "writes"], ["X"])])
    assert str(caught.value) == (
        "sentence 1 is no pair of tokens and tags\n"
        '  expected: two lists of texts, equally long, as in (["Ada", "writes"], ["PROPN", "VERB"])\n'
        "  got: (['She', 'writes'], ['X'])"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Ada\t NN  B-PER\nsaw\tVB O\n",  # tabs beside spaces in each row
        "Ada NN\tB-PER\nsaw VB O\n",  # or only in some
        "Ada NN B-PER\r\nsaw VB O\r\n",
        "# sent_id = 1\nAda NN B-PER\nsaw VB O\n",  # as many words as there are columns
    ],
)
def test_white_space_of_all_kinds_and_comments(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", text)
    assert loaded(path)[0] == [(("Ada", "saw"), ("B-PER", "O"))]


def test_labels_with_spaces_stay_whole_behind_a_tab(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", "Oslo\tB-GEO PLACE\nis\tO\n")
    assert loaded(path)[0] == [(("Oslo", "is"), ("B-GEO PLACE", "O"))]


def test_labels_that_stand_first_are_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "O x Ada\nO x saw\nO x Oslo\n")
    with pytest.raises(DataError) as caught:
        load_to_measure(path)
    assert str(caught.value) == (
        f"{path} does not show which column holds the labels\n"
        "  expected: fewer different labels than different tokens\n"
        "  got: 1 different values in column '1', 3 in column '3'\n"
        "  do: name both columns, as in text='3', label='1'"
    )
    assert "as in --set text=3 label=1" in caught.value.in_shell()
    assert loaded(path, text="3", label="1")[0] == [(("Ada", "saw", "Oslo"), ("O", "O", "O"))]


def test_a_file_without_empty_lines_is_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", "Ada B-PER\nsaw O\nOslo B-LOC\n")
    with pytest.raises(DataError) as caught:
        load_tagged_sentences(path)
    assert str(caught.value) == (
        "there are too few sentences to hold some out for validation and test\n"
        "  expected: 3 sentences at least, with an empty line after each in a file\n"
        "  got: 1 of 3 tokens in all\n"
        "  do: give more sentences, or a folder with files for train, dev and test"
    )
