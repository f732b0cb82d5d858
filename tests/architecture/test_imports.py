"""Every import of the package goes up the order of its parts, and frameworks stay in their places."""

import ast
import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.architecture.imports import MODULES, cycles, graph_of, imports_of, imports_of_package
from tests.architecture.rules import DEFERRED, THIRD_PARTY, violations
from tests.paths import ROOT

# Where the name to install differs from the name to import.
NEEDED = {
    "tensorboard": "torch.utils.tensorboard writes what is trained",
    "pyarrow": "pandas reads Parquet with it",
}
INSTALLED_AS = {"sklearn": "scikit-learn", "charset_normalizer": "charset-normalizer", "PIL": "pillow"}


def test_every_import_is_allowed() -> None:
    wrong = list(dict.fromkeys(text for found in imports_of_package() for text in violations(found)))
    assert wrong == [], "\n".join(wrong)


def test_no_modules_import_each_other_when_they_are_loaded() -> None:
    assert cycles(graph_of(found for found in imports_of_package() if not found.deferred)) == []


def test_no_modules_import_each_other_later_either() -> None:
    groups = cycles(graph_of(imports_of_package()))
    assert groups == [], "\n".join(" <-> ".join(group) for group in groups)


def test_a_cycle_of_imports_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"e"}, "f": {"g"}, "g": {"f"}}
    assert cycles(graph) == [["a", "b", "c"], ["f", "g"]]


def test_every_third_party_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.match(r"[\w-]+", requirement)[0] for group in groups for requirement in group}
    assert {INSTALLED_AS.get(name, name) for name in THIRD_PARTY | DEFERRED} <= declared


def test_every_requirement_is_imported_or_needed_by_what_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = {"dev", "bench", "docs", "release"}
    extras = {name: names for name, names in project["optional-dependencies"].items() if name not in tools}
    groups = [project["dependencies"], *extras.values()]
    required = {re.match(r"[\w-]+", requirement)[0] for group in groups for requirement in group}
    imported = {found.module.partition(".")[0] for found in imports_of_package()}
    imported = {INSTALLED_AS.get(name, name) for name in imported} | {"gatewright"}
    assert required - imported == NEEDED.keys()


def test_every_rule_is_of_a_package_that_is_imported() -> None:
    imported = {found.module.partition(".")[0] for found in imports_of_package()}
    assert (THIRD_PARTY | DEFERRED).keys() - imported == set()


def unpickling(source: str) -> Iterator[str]:
    """Calls that would run what is pickled in a file of weights or arrays."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call):
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            loads = ast.unparse(call.func) == "torch.load" and options.get("weights_only") != "True"
            if loads or options.get("allow_pickle", "False") != "False":
                yield f"line {call.lineno}: {ast.unparse(call)}"


def test_files_of_weights_and_arrays_are_read_without_pickle() -> None:
    found = {name: list(unpickling(path.read_text(encoding="utf-8"))) for name, path in MODULES.items()}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "call", ["torch.load(path)", "torch.load(p, weights_only=False)", "load(p, allow_pickle=True)"]
)
def test_a_call_that_unpickles_is_found(call: str) -> None:
    assert list(unpickling(call)) == [f"line 1: {call}"]


def test_a_call_that_does_not_unpickle_is_left_alone() -> None:
    assert list(unpickling("torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)")) == []


WRONG = {
    ("lang.cell", "from gatewright.trace.ir import Var"): "lang may not import trace",
    ("lang.cell", "def f():\n    from gatewright.trace.ir import Var"): "lang may not import trace",
    ("lang.cell", "if TYPE_CHECKING:\n    from gatewright import trace"): "lang may not import trace",
    ("lang.cell", "from ..trace import ir"): "lang may not import trace",
    ("lang.cell", "import importlib\nimportlib.import_module('gatewright.nn')"): "lang may not import nn",
    ("cells.gru", "from gatewright.axes import HIDDEN"): "cells may not import axes",
    ("stream", "from gatewright import nn"): "stream may not import nn",
    ("nn.layers", "import gatewright as gw"): "one of the two has no place in the order",
    ("nn.layers", "from gatewright import cell"): "one of the two has no place in the order",
    ("brandnew", "from gatewright import errors"): "one of the two has no place in the order",
    ("backends.c99", "from gatewright.backends.llvm.emit import text"): "backends never import each other",
    (
        "trace.ir",
        "import torch.nn as nn",
    ): "which is allowed in backends.torch_eager, ",
    ("convert.apply", "from torch import nn"): "a function of convert only",
    ("backends.torch_eager", "import llvmlite"): "which is allowed in backends.llvm only",
    ("tasks.data", "import polars"): "which is allowed in no part of the package only",
    ("convert.readers", "def f():\n    import pickle"): "and nothing is ever unpickled",
}


@pytest.mark.parametrize(("importer", "source"), WRONG)
def test_a_wrong_import_is_seen(importer: str, source: str) -> None:
    found = [text for each in imports_of(source, f"gatewright.{importer}") for text in violations(each)]
    assert len(found) == 1
    assert WRONG[importer, source] in found[0]


RIGHT = [
    ("trace.tracer", "import dis\nfrom gatewright.lang.cell import Cell\nfrom .ir import Var"),
    ("backends.c99", "from gatewright.backends import base\nfrom gatewright.schedule.program import Program"),
    ("backends.llvm.emit", "import llvmlite.binding\nfrom gatewright.backends.llvm import types"),
    ("convert.readers", "def f():\n    import torch\n    from keras import layers"),
    ("tasks.model", "from gatewright import __version__"),
    ("tasks.curves", "def draw():\n    from matplotlib.figure import Figure"),
    ("inspect.plots", "from gatewright.tasks import training\nimport matplotlib.pyplot as plt"),
]


@pytest.mark.parametrize(("importer", "source"), RIGHT)
def test_a_right_import_is_left_alone(importer: str, source: str) -> None:
    assert [text for each in imports_of(source, f"gatewright.{importer}") for text in violations(each)] == []
