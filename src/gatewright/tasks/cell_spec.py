"""The cell that a text names: `gru`, `gru(reset=after)`, `zoneout(0.1)(lstm)`, or `my_cells.py:my_cell`.

The text is parsed, never evaluated; only a file of the user's own is run, since that is what it is named for.
"""

import ast
import importlib.util
import shlex
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from traceback import extract_tb
from typing import Any

from gatewright import cells, lang
from gatewright.errors import GatewrightError, OptionError
from gatewright.lang import Cell

_VARIATIONS: dict[str, Callable[..., Any]] = {
    variation.__name__: variation
    for variation in (lang.masked, lang.zoneout, lang.recurrent_dropout, lang.layer_norm, lang.residual)
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        lang.sigmoid,
        lang.tanh,
        lang.relu,
        lang.softplus,
        lang.softsign,
        lang.hard_sigmoid,
        lang.hard_sigmoid_theano,
        lang.hard_sigmoid_keras3,
        cells.identity,
    )
}


def read_cell(text: str) -> Cell:
    """The cell that the text names.

    Raises OptionError where the text cannot be read, or names what there is not.
    """
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path).expanduser(), name)
    if text.endswith(".py"):
        raise OptionError(f"{text!r} names a file and no cell in it", do=f"name a cell of the file: {text}:my_cell")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise _unreadable(text) from error
    cell = _read(tree, text)
    if not isinstance(cell, Cell):
        raise OptionError(f"{text!r} is no cell but makes one of another", expected=f"a cell in it, as in {text}(gru)")
    return cell


def _read(tree: ast.expr, text: str) -> Any:
    """A cell, or a variation that waits for one."""
    if isinstance(tree, ast.Name):
        return _VARIATIONS.get(tree.id) or cells.get(tree.id)
    if not isinstance(tree, ast.Call):
        raise _unreadable(text)
    maker = _read(tree.func, text)
    arguments = [(_read if isinstance(node, ast.Name | ast.Call) else _read_value)(node, text) for node in tree.args]
    options = {option.arg: _read_value(option.value, text) for option in tree.keywords if option.arg is not None}
    if len(options) < len(tree.keywords) or (isinstance(maker, Cell) and arguments):
        raise _unreadable(text)
    _check_functions(maker, options)
    try:
        return maker(*arguments, **options)
    except GatewrightError:
        raise
    except TypeError as error:
        raise OptionError(
            f"{text!r} cannot be made: {ast.unparse(tree.func)} is given too much, too little or what it does not know",
            expected=f"{ast.unparse(tree.func)}({', '.join(signature(maker).parameters)})",
        ) from error


def _check_functions(maker: Any, options: Mapping[str, Any]) -> None:
    """An option that is a function, such as a gate's, is given one."""
    functions = (
        {key for key, value in maker.defaults.items() if callable(value)} if isinstance(maker, Cell) else set[str]()
    )
    wrong = next((key for key, value in options.items() if key in functions and not callable(value)), None)
    if wrong is not None:
        raise OptionError(
            f"option {wrong!r} of cell {maker.name!r} is a function",
            expected="one of " + ", ".join(_FUNCTIONS),
            got=str(options[wrong]),
        )


def _read_value(tree: ast.expr, text: str) -> Any:
    """An option's value: a function such as tanh, a plain word, or a number."""
    if isinstance(tree, ast.Name):
        return _FUNCTIONS.get(tree.id, tree.id)
    try:
        return ast.literal_eval(tree)
    except ValueError as error:
        raise _unreadable(text) from error


def _unreadable(text: str) -> OptionError:
    return OptionError(
        f"the cell {text!r} cannot be read",
        expected="a name of the catalogue, with options, as in gru or gru(reset=after); a variation of a cell, as in "
        "zoneout(0.1)(lstm); or a cell in a file, as in my_cells.py:my_cell",
        do="list the catalogue with: gatewright cells",
    )


def _from_file(path: Path, name: str) -> Cell:
    specification = importlib.util.spec_from_file_location(f"gatewright_user_{path.stem}", path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise OptionError(
            f"there is no file {path} to take the cell {name!r} from", do="give its path from this folder, or in full"
        )
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # whatever the user's own code does
        raise OptionError(
            f"{path} cannot be run to take the cell {name!r} from it",
            got=f"{type(error).__name__} in line {_line(error, path)}: {error}",
            do=f"mend the file; python {shlex.quote(str(path))} shows where it stops",
        ) from error
    cell = getattr(module, name, None)
    if not isinstance(cell, Cell):
        there = [key for key, value in vars(module).items() if isinstance(value, Cell)]
        raise OptionError(
            f"{path} has no cell named {name!r}",
            expected="one of " + ", ".join(there) if there else "a function with @gw.cell",
            got=f"{name} is a {type(cell).__name__} that is no cell" if cell is not None else None,
            do="put @gw.cell above the function" if callable(cell) else None,
        )
    return cell


def _line(error: Exception, path: Path) -> int:
    """The line of that file in which it went wrong."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return error.lineno
    own = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename) == path and frame.lineno]
    return own[-1] if own else 1
