"""Gated recurrent networks from their equations.

A recurrent cell is written once, as the few lines that a paper prints. From those lines come its gradient, a readable
reference, a PyTorch layer, LaTeX, and a picture of what each gate does.

    import gatewright as gw

    @gw.cell
    def elman(x, h, W, U, b):
        return gw.tanh(W.h @ x + U.h @ h + b.h)
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, cast

from gatewright import errors
from gatewright.errors import GatewrightError
from gatewright.lang import (
    Cell,
    abs,
    bernoulli,
    cell,
    exp,
    hard_sigmoid,
    hard_sigmoid_keras3,
    hard_sigmoid_theano,
    layer_norm,
    less,
    log,
    masked,
    maximum,
    mean,
    minimum,
    recurrent_dropout,
    relabel,
    relu,
    residual,
    sigmoid,
    sign,
    size,
    softplus,
    softsign,
    sqrt,
    sum,
    tanh,
    where,
    zoneout,
)
from gatewright.lang import display as _display
from gatewright.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from gatewright.drawing import diagram

try:
    __version__ = version("gatewright")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"

_LAZY = (
    "cells",
    "trace",
    "derive",
    "backends",
    "nn",
    "model_file",
    "convert",
    "tasks",
    "inspect",
    "stream",
    "export",
    "look",
)
# What `print` and notebooks show of cells and layers is written by a later part, loaded at the first use.
_display.use(lambda: cast("_display.Display", import_module("gatewright.inspect.display")))
_FUNCTIONS = {"diagram": "gatewright.drawing"}


def __getattr__(name: str) -> Any:
    """Load a subpackage when it is first asked for, so that `import gatewright` stays quick and needs no framework."""
    if name in _LAZY:
        return import_module(f"gatewright.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'gatewright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, *_FUNCTIONS])


__all__ = [
    "Cell",
    "GatewrightError",
    "__version__",
    "abs",
    "bernoulli",
    "cell",
    "diagram",
    "errors",
    "exp",
    "get_num_threads",
    "hard_sigmoid",
    "hard_sigmoid_keras3",
    "hard_sigmoid_theano",
    "layer_norm",
    "less",
    "log",
    "masked",
    "maximum",
    "mean",
    "minimum",
    "recurrent_dropout",
    "relabel",
    "relu",
    "residual",
    "set_num_threads",
    "sigmoid",
    "sign",
    "size",
    "softplus",
    "softsign",
    "sqrt",
    "sum",
    "tanh",
    "where",
    "zoneout",
]
