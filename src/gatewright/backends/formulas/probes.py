"""The gradient of a cell, told which of its values is the adjoint of which value of the cell.

Every value of the cell is given a probe: a parameter that is added to it. The gradient of the probe is the value's
adjoint. Then the probes are taken as 0, and are gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gatewright.backends.formulas.naming import is_named
from gatewright.derive import adjoint, vjp
from gatewright.lang.ops import Op
from gatewright.trace.analysis import needed
from gatewright.trace.ir import Equation, Trace, Var, names_of, renamed, with_uses
from gatewright.trace.simplify import simplify, without

_SPACE = "?"  # no user can have a parameter space of this name


@dataclass(frozen=True, slots=True)
class ProbedGradient:
    """`trace` computes adjoints alone: what it needs of the forward step are leaves or unnamed.

    `adjoints` maps a value of the step to the value of `trace` that is its adjoint; it is left out where nothing flows.
    """

    trace: Trace
    adjoints: Mapping[str, str]


def gradient_of(step: Trace) -> ProbedGradient:
    """The gradient of a step whose values to be shown are named."""
    back = without(vjp(_probed(step), outputs=()), _SPACE)  # what the loss says of a state comes with what is carried
    of_probes = {name: value for name, value in back.sums if name.startswith(adjoint(f"{_SPACE}.")[:-1])}
    adjoints = {
        equation.target.name: value.name
        for equation in step.equations
        if isinstance(value := of_probes.get(adjoint(_probe(equation.target.name))), Var)
    }
    sums = tuple(pair for pair in back.sums if pair[0] not in of_probes)
    lone = simplify(replace(back, sums=sums))
    narrowed = {name: f"%{name}" for name in _forward(step, lone) if name not in _forward(step, lone, whole=True)}
    return ProbedGradient(_without_forward(renamed(lone, narrowed), step), adjoints)


def _probe(name: str) -> str:
    return f"{_SPACE}.{name}"


def _probed(step: Trace) -> Trace:
    """The step with a probe added to every value, wherever it is used."""
    seen = {e.target: Var(f"%{e.target.name}", e.target.shape) for e in step.equations}
    probes = {e.target: Var(_probe(e.target.name), e.target.shape) for e in step.equations}

    step = with_uses(step, lambda value: seen.get(value, value))
    equations: list[Equation] = []
    for equation in step.equations:
        target = equation.target
        equations += [equation, Equation(seen[target], Op.ADD, (target, probes[target]))]
    return replace(step, params=(*step.params, *probes.values()), equations=tuple(equations), gates=())


def _forward(step: Trace, back: Trace, whole: bool = False) -> set[str]:
    """The named values of the step that the gradient computes again; `whole`: not as a scalar that stands for all."""
    shapes = {e.target.name: e.target.shape for e in step.equations if is_named(e.target.name)}
    return {
        target.name
        for target in (equation.target for equation in back.equations)
        if target.name in shapes and (not whole or target.shape == shapes[target.name])
    }


def _without_forward(back: Trace, step: Trace) -> Trace:
    """The trace without the equations of the step's named values, and without what only they needed."""
    forward = _forward(step, back)
    own = [equation for equation in back.equations if equation.target.name not in forward]
    wanted = needed(own, names_of(back.outputs()))
    return replace(back, equations=tuple(equation for equation in own if equation.target.name in wanted))
