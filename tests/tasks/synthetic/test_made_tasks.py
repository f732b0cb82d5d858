"""Answers of the recipes that make their own data: sums bit by bit, marked sums, and symbols that are repeated."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.synthetic import addition_arrays, copy_arrays, marked_sums
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.recipes.adding import Adding
from gatewright.tasks.recipes.longlag import LongLag
from gatewright.tasks.run import Run
from gatewright.tasks.synthetic.addition import add
from gatewright.tasks.training.session import train
from tests.tasks.data.formats import put
from tests.tasks.small import QUIET


def trained(made: Recipe, folder: Path) -> Model:
    train(made, out=folder / "run", console=QUIET)
    return load_model(folder / "run")


@pytest.fixture(scope="module")
def adding(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return trained(Adding.configured(["epochs=2", "batch=20"]), tmp_path_factory.mktemp("adding"))


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Model:
    settings = ["lag=12", "hidden=8", "epochs=1", "iterations=20"]
    return trained(LongLag.configured(settings), tmp_path_factory.mktemp("sums"))


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Model:
    settings = ["task=copy", "lag=3", "hidden=8", "epochs=1", "iterations=20"]
    return trained(LongLag.configured(settings), tmp_path_factory.mktemp("copies"))


def outputs(model: Model, inputs: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model.network(torch.from_numpy(inputs))[0]


def bits_by_hand(model: Model, first: int, second: int) -> str:
    inputs, _ = addition_arrays([(first, second)], (first + second).bit_length() + 1)
    return "".join("1" if bit > 0.5 else "0" for bit in outputs(model, inputs)[:, 0, 0])


def test_sums_by_hand(adding: Model, tmp_path: Path) -> None:
    pairs = [(12, 30), (0, 0), (2**70, 5), (7, 7)]
    answers = Run(adding).predict(pairs)
    assert list(answers.columns) == ["line", "first", "second", "sum", "right", "bits"]
    for row, (first, second) in zip(answers.itertuples(), pairs, strict=True):
        assert row.bits == bits_by_hand(adding, first, second)
        assert row.sum == int(row.bits[::-1], 2) == add(adding, first, second)
        assert row.right == (row.sum == first + second)
    path = put(tmp_path / "pairs.csv", f"first,second\n12,30\n0 0\n\n{2**70} + 5\n7;7\n".encode())
    of_file = Run(adding).predict(path)
    assert of_file["line"].tolist() == [2, 3, 5, 6]
    assert of_file["bits"].tolist() == answers["bits"].tolist()
    table = pd.DataFrame({"a": [12, 0], "b": [30, 0]})
    assert Run(adding).predict(table)["bits"].tolist() == answers["bits"].tolist()[:2]
    line = Run(adding).predictor().predict_line(" 12 30")
    assert line == answers.drop(columns="line").iloc[0].to_dict()


@pytest.mark.parametrize("line", ["12", "1 2 3", "1.5 2", "-1 2", "one two", f"{'9' * 1001} 1"])
def test_what_is_not_added(adding: Model, tmp_path: Path, line: str) -> None:
    with pytest.raises(OptionError) as caught:
        Run(adding).predictor().predict_line(line)
    assert str(caught.value) == (
        "a line to add has two whole numbers\n  expected: two of at most 1,000 digits, as in 12 30\n"
        f"  got: {line[:60]!r}"
    )
    path = put(tmp_path / "a.csv", f"1,2\n{line}\n".encode())
    with pytest.raises(DataError, match=r"a\.csv, line 2: not two whole numbers\n  expected: two of at most 1,000"):
        Run(adding).predict(path)


def test_pairs_that_are_none(adding: Model, tmp_path: Path) -> None:
    for pairs in ([(1, 2), (1.5, 2)], [(1, 2), (-1, 2)], [(1, 2), (1, 2, 3)], [(1, 2), 3]):
        with pytest.raises(DataError, match=r"^pair 2: not two whole numbers"):
            Run(adding).predict(pairs)
    with pytest.raises(DataError, match="there are no numbers to add"):
        Run(adding).predict(put(tmp_path / "a.csv", b"first,second\n"))
    with pytest.raises(DataError, match=r"line 1: not two whole numbers"):
        Run(adding).predict(put(tmp_path / "a.csv", b"column 1,column 2\n1,2\n"))


def test_marked_sums_by_hand(sums: Model, tmp_path: Path) -> None:
    inputs, _ = marked_sums(5, 12, seed=1)  # (steps, sequences, 2)
    answers = Run(sums).predict(inputs.swapaxes(0, 1))
    np.testing.assert_allclose(answers["sum"], outputs(sums, inputs)[:, 0], rtol=1e-5)
    assert answers["id"].tolist() == ["1", "2", "3", "4", "5"]
    uneven = [inputs[:, 0], marked_sums(1, 7, seed=2).inputs[:, 0]]
    by_list = Run(sums).predict(uneven)
    np.testing.assert_allclose(by_list["sum"][1], outputs(sums, uneven[1][:, None])[0, 0], rtol=1e-5)
    lines = [f"{name},{v:.9g},{m:g}" for name, one in zip("ab", uneven, strict=True) for v, m in one]
    path = put(tmp_path / "long.csv", "\n".join(["id,value,mark", *lines]).encode())
    by_table = Run(sums).predict(path)
    assert by_table["id"].tolist() == ["a", "b"]
    np.testing.assert_allclose(by_table["sum"], by_list["sum"], rtol=1e-6)
    assert Run(sums).predict(inputs[:, 0])["sum"].tolist() == pytest.approx([answers["sum"][0]], rel=1e-6)


def test_copies_by_hand(copies: Model) -> None:
    inputs, _ = copy_arrays(2, 3, seed=1)
    answers = Run(copies).predict(inputs.T)
    assert list(answers.columns) == ["id", "step", "class", "probability"]
    chances = torch.softmax(outputs(copies, inputs)[-10:].double(), -1)  # (steps, sequences, symbols)
    np.testing.assert_allclose(answers["probability"], chances.max(-1).values.T.reshape(-1), rtol=1e-5)
    assert answers["class"].tolist() == [str(one) for one in chances.argmax(-1).T.reshape(-1).tolist()]
    assert answers["step"].tolist() == [*range(14, 24)] * 2
    assert copies.sizes.classes == tuple("0123456789")


def test_sequences_that_do_not_fit(sums: Model, copies: Model, tmp_path: Path) -> None:
    whole = marked_sums(1, 12, seed=0).inputs[:, 0]
    twice = whole.copy()
    twice[:, 1] = 1
    message = (
        "sequence 1 is none to add\n"
        "  expected: values from 0 to 1, and marks: 1 at two steps, 0 at all others\n"
        "  got: values from {:g} to {:g}, marks that add up to {}"
    )
    for wrong, marks in ((twice, 12), (whole * [2, 1], 2)):
        with pytest.raises(DataError) as caught:
            Run(sums).predict([wrong])
        assert str(caught.value) == message.format(wrong[:, 0].min(), wrong[:, 0].max(), marks)
    with pytest.raises(
        DataError, match=r"^sequence 1 has another shape\n  expected: steps x 2: value, mark\n  got: 12 x 1$"
    ):
        Run(sums).predict([whole[:, :1]])
    with pytest.raises(
        DataError, match=r"none to repeat\n  expected: more than 20 whole numbers from 0 to 9\n  got: 5 from 0"
    ):
        Run(copies).predict(np.arange(5))
    with pytest.raises(OptionError, match="has no column 'value'"):
        Run(sums).predict(put(tmp_path / "a.csv", b"id,number,mark\na,0.5,1\na,0.25,1\n"))
    with pytest.raises(OptionError, match="does not read lines of text"):
        Run(sums).predictor().predict_line("1")
