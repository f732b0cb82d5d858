"""Cells, Traces and layers as text, LaTeX and HTML: what `print` and notebooks show of them."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from gatewright.axes import HIDDEN, INPUT, show_shape
from gatewright.backends.formulas import latex as latex_notation
from gatewright.backends.formulas import mathml, unicode
from gatewright.backends.formulas.cell_lines import written_names
from gatewright.backends.formulas.tree import Name, StepIndex
from gatewright.errors import GatewrightError, OptionError
from gatewright.inspect.roles import roles
from gatewright.lang import Cell
from gatewright.lang.ops import Op
from gatewright.trace import Equation, Trace, Var, trace_cell
from gatewright.trace.roles import gate_roles
from gatewright.untrusted.printable import printable

_LARGEST = 2000  # equations of a Trace that is written; more are no reading


def text(shown: object) -> str | None:
    """The title, the equations of one step, and what the gates do. None where there are no equations to write."""
    trace = trace_of(shown)
    if trace is None:
        return None
    return printable("\n".join([_title(shown, trace), "", unicode.equations(trace), *_gate_sentences(trace)]))


def latex(shown: object) -> str | None:
    """The equations of one step, between double dollar signs. None where there are none to write."""
    trace = trace_of(shown)
    return None if trace is None else f"$$\n{printable(latex_notation.equations(trace))}\n$$"


def html(shown: object) -> str | None:
    """Equations, parameters with their shapes, gates, the convention and a diagram. None where there are none."""
    trace = trace_of(shown)
    if trace is None:
        return None
    about = shown.about if isinstance(shown, Cell) else None
    parts = [
        f"<div><strong>{_safe(_title(shown, trace))}</strong></div>",
        f"<div>{_safe(about.paper)}</div>" if about and about.paper else "",
        mathml.equations(trace),
        _gates(trace),
        _parameters(trace, _sizes(shown)),
        f"<div><em>Convention:</em> {_safe(about.convention)}.</div>" if about and about.convention else "",
        f"<div><em>Differs from the paper:</em> {_safe(about.differs)}.</div>" if about and about.differs else "",
        _diagram(shown, trace),
    ]
    return f'<div style="line-height:1.5">{"".join(parts)}</div>'


def trace_of(shown: object) -> Trace | None:
    """The Trace of a cell or layer; None where the equations are wrong, or too many to be written."""
    try:
        trace = shown if isinstance(shown, Trace) else trace_cell(shown) if isinstance(shown, Cell) else None
        trace = trace or getattr(shown, "trace", None)
        if not isinstance(trace, Trace) or len(trace.equations) > _LARGEST:
            return None
        unicode.equations(trace)
    except (GatewrightError, RecursionError):
        return None
    return trace


def _title(shown: object, trace: Trace) -> str:
    if isinstance(shown, Cell):
        return f"{shown.label}: {shown.about.title}" if shown.about.title else shown.label
    if isinstance(shown, Trace):
        return trace.name or "Trace"
    return repr(shown).split("\n", 1)[0]


def _gate_sentences(trace: Trace) -> list[str]:
    sentences = [f"{unicode.spell(name)} {role}" for name, _, role in _gates_with_roles(trace) if role]
    return ["", *sentences] if sentences else []


def _gates_with_roles(trace: Trace) -> list[tuple[Name, str, str]]:
    """Symbol, name and role of every gate; of the squashed values that are no gates those that have a role."""
    names, found = written_names(trace), gate_roles(trace)
    gates = {gate: value.name for gate, value in trace.gates}
    for name in (*found.keeps, *found.replaces, *found.writes):
        gates.setdefault(name, name)
    return [
        (names.get(value, Name(gate, (), StepIndex.NOW)), gate, _role(trace, gate, value))
        for gate, value in gates.items()
    ]


def _role(trace: Trace, gate: str, value: str) -> str:
    """What a gate does, as computed from the equations."""
    found = gate_roles(trace)
    if gate in found.keeps:
        return "near 1 keeps the old state"
    if gate in found.replaces:
        return "near 1 replaces the old state"
    if gate in found.writes:
        return "scales what is added to the state"
    return next(filter(None, (_scaling(trace, value, equation) for equation in trace.equations)), "")


def _scaling(trace: Trace, value: str, equation: Equation) -> str:
    """What an equation says of a value if it is a product of that value: which side of a matrix it resets, or that it
    scales what is given out."""
    names = [arg.name for arg in equation.args if isinstance(arg, Var)]
    if equation.op is not Op.MUL or value not in names or len(names) != 2:
        return ""
    other = next((name for name in names if name != value), value)
    written = written_names(trace)
    products = [product.args[1] for product in trace.equations if product.op is Op.MATMUL]
    if other in {state.name for state in trace.states} and equation.target in products:
        return f"scales {unicode.spell(written[other])} before its matrix does"
    recurrent = _recurrent_state(trace, other)
    if recurrent:
        return f"scales the product of {unicode.spell(written[recurrent])} and its matrix"
    return "scales what a layer gives out" if equation.target == trace.next_states[0] else ""


def _recurrent_state(trace: Trace, name: str) -> str:
    """The state that a value multiplies by a matrix, alone or with a bias added; "" for other values."""
    definitions, states = trace.definitions(), {state.name for state in trace.states}
    equation = definitions.get(name)
    if equation is None or equation.op not in (Op.MATMUL, Op.ADD):
        return ""
    variables = [arg.name for arg in equation.args if isinstance(arg, Var)]
    if equation.op is Op.MATMUL:
        return variables[1] if variables[1] in states else ""
    return next(filter(None, (_recurrent_state(trace, variable) for variable in variables)), "")


def _gates(trace: Trace) -> str:
    rows = [(mathml.math(name), f"<code>{_safe(gate)}</code>", _safe(role))
            for name, gate, role in _gates_with_roles(trace)]  # fmt: skip
    return _table(("gate", "name", "what it does"), rows) if rows else ""


def _parameters(trace: Trace, sizes: Mapping[str, int]) -> str:
    if not trace.params:
        return ""
    names, uses = written_names(trace), roles(trace)
    rows = [
        (mathml.math(names[param.name]), f"<code>{_safe(param.name)}</code>",
         _safe(_shape(param.shape, sizes)), _safe(uses[param.name].text))
        for param in trace.params
    ]  # fmt: skip
    return _table(("parameter", "name", "shape", "what it is"), rows)


def _shape(axes: tuple[str, ...], sizes: Mapping[str, int]) -> str:
    return show_shape(axes) if not sizes else " × ".join(f"{sizes[axis]:,}" for axis in axes) or "1"


def _sizes(shown: object) -> Mapping[str, int]:
    """The sizes of the axes of a layer's first level; of a cell they are open."""
    layer: Any = shown
    if hasattr(layer, "sizes"):
        return layer.sizes(0)
    # one of the cells that run a single step
    return {INPUT: layer.input_size, HIDDEN: layer.hidden_size} if hasattr(layer, "hidden_size") else {}


def _diagram(shown: object, trace: Trace) -> str:
    from gatewright.drawing import diagram

    try:
        drawn = diagram(shown if isinstance(shown, Cell) else trace)
    except OptionError:  # a gradient, or too large
        return ""
    return f"<details><summary>Diagram</summary>{drawn.svg}</details>"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    style = 'style="text-align:left;vertical-align:top;padding:.1em .8em .1em 0;background:none;border:none"'
    head = "".join(f"<th {style}>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td {style}>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        '<table style="border:none;border-collapse:collapse;margin:.4em 0">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _safe(content: str) -> str:
    return escape(printable(content), quote=True)
