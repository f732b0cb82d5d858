"""What cannot be exported is said, in words that tell what to do."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright import cells, export
from gatewright.errors import GatewrightError, ModelFileError, OptionError, WriteError
from gatewright.model_file import ModelFile, save
from gatewright.nn.records import layer_records
from gatewright.tasks import recipes
from gatewright.tasks.model import Model
from gatewright.tasks.run_data import Sizes
from tests.export.running import model_of


def refused(model: object, error: type[GatewrightError] = OptionError, **options: object) -> str:
    with pytest.raises(error) as caught:
        export.onnx(model, "never.onnx", **options)
    assert not Path("never.onnx").exists()
    return str(caught.value)


def of(**layers: torch.nn.Module) -> ModelFile:
    module = torch.nn.ModuleDict(layers)
    tensors = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    return ModelFile(tensors, layer_records(module), task="mine")


def test_what_is_no_model() -> None:
    expected = (
        "what is to be exported is no model of Gatewright\n"
        "  expected: the path of a model file or of a run's folder, a ModelFile, a layer of gw.nn, or a model that "
        "gatewright.tasks.model.load_model gave\n"
        "  got: {}\n"
        "  do: give a layer of gw.nn; what is around it in a module of one's own is not exported"
    )
    assert refused(torch.nn.GRU(2, 3)) == expected.format("GRU")
    assert refused(torch.nn.Sequential(gw.nn.GRU(2, 3))) == expected.format("Sequential")


def test_layers_whose_connection_is_not_known() -> None:
    both = of(lower=gw.nn.Recurrent("gru", 4, 3), upper=gw.nn.Recurrent("lstm", 3, 3))
    assert refused(both) == (
        "the model file has several recurrent layers\n  expected: one, or a name\n  got: 'lower', 'upper'\n"
        "  do: give name='...' to export one of them"
    )
    assert refused(both, name="middle") == (
        "the model file has no recurrent layer 'middle'\n  expected: 'lower', 'upper'"
    )
    assert refused(of(head=torch.nn.Linear(2, 3))) == (
        "the model file has no recurrent layer\n  expected: one, or a name\n  got: none"
    )
    headed = of(recurrent=gw.nn.Recurrent("gru", 4, 3), head=torch.nn.Linear(3, 2))
    assert refused(headed) == (
        "the model file has more than its recurrent layer 'recurrent', and does not say how all is connected\n"
        "  expected: a model of a recipe, or a file with one recurrent layer and nothing else\n"
        "  got: head.bias, head.weight\n"
        "  do: export the layer alone with name='recurrent'"
    )


def test_an_opset_that_lacks_what_is_used(rng: np.random.Generator) -> None:
    from gatewright.backends.onnx.serialise import NEWEST_OPSET

    for opset in (12, NEWEST_OPSET + 1):
        assert refused(model_of(cells.gru, rng), opset=opset) == (
            "an ONNX file cannot have this opset\n"
            f"  expected: from 13 to {NEWEST_OPSET}, the newest that the installed package onnx knows\n"
            f"  got: {opset}"
        )


def test_a_precision_that_is_none(rng: np.random.Generator) -> None:
    assert refused(model_of(cells.gru, rng), dtype="float16") == (
        "an ONNX file cannot have this dtype\n  expected: float32 or float64\n  got: 'float16'"
    )


def test_numbers_of_half_precision(rng: np.random.Generator) -> None:
    assert refused(model_of(cells.gru, rng, "float16")) == (
        "layer 'recurrent' has parameters of a dtype that is not exported\n  expected: float32 or float64\n"
        "  got: float16\n  do: save the model in float32"
    )


def test_an_input_that_a_layer_does_not_know(rng: np.random.Generator) -> None:
    from gatewright.trace import parse

    text = (
        'gatewright-trace 1\ncell "two"\ninput x(input)\ninput y(input)\nstate h(hidden)\nparam W.h(hidden, input)\n'
        "  %0(input) = add x y\n  h'(hidden) = matmul W.h %0\nnext h = h'\nend\n"
    )
    assert refused(model_of(parse(text), rng, sizes={"input": 3, "hidden": 5})) == (
        "cell 'two' has an input that a layer does not know\n  expected: x or mask\n  got: y"
    )


def test_a_recipe_s_file_that_lacks_something() -> None:
    made, sizes = recipes.get("digits").configured(["hidden=4"]), Sizes(8, 10)
    kept = Model(made, sizes, made.network(sizes, "gru")).kept()
    short = ModelFile(
        {k: v for k, v in kept.tensors.items() if k != "output.bias"}, kept.layers, "digits", kept.settings
    )
    assert refused(short, ModelFileError) == "the model of the recipe 'digits' lacks 'output.bias'"
    odd = ModelFile(kept.tensors, kept.layers, "digits", {"recipe": {"colour": "red"}}, version="9.9")
    assert refused(odd, ModelFileError).startswith(
        "the model is not one that this version's recipe 'digits' can read\n  got: gatewright 9.9: "
    )


def test_a_file_that_says_of_itself_what_nobody_knows() -> None:
    made, sizes = recipes.get("digits").configured(["hidden=4"]), Sizes(8, 10)
    kept = Model(made, sizes, made.network(sizes, "gru")).kept()
    odd = replace(kept, settings={**kept.settings, "pooling": ["median"]})
    assert refused(odd, ModelFileError) == (
        "the model says of its network what this version does not know\n"
        "  expected: encoding: values, standardised, one-hot, embedding, embedding-sum; "
        "pooling: each step, last, mean, max\n"
        "  got: encoding: values; pooling: ['median']\n"
        "  do: use the version that it was trained with, or train it again"
    )


def test_a_file_that_cannot_be_written(rng: np.random.Generator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="m.onnx cannot be written: .*\n  do: see that there is room"):
        export.onnx(model_of(cells.gru, rng), tmp_path / "file" / "m.onnx")
    with pytest.raises(ModelFileError, match="there is no model file"):
        export.onnx(save(tmp_path / "m.safetensors", model_of(cells.gru, rng)).with_name("n"), tmp_path / "m.onnx")


def test_the_package_onnx_is_missing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "gatewright.backends.onnx.serialise", raising=False)
    monkeypatch.delattr("gatewright.backends.onnx.serialise", raising=False)
    assert refused(model_of(cells.gru, rng), GatewrightError) == (
        "an ONNX file cannot be written without the package 'onnx'\n  do: pip install 'gatewright[onnx]'"
    )
