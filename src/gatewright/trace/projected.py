"""Projected steps: the products of the input with matrices are inputs themselves, computed before the sequence runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gatewright.lang.ops import Op
from gatewright.trace.check import check
from gatewright.trace.ir import Literal, Trace, Var, names_of, with_uses


@dataclass(frozen=True, slots=True)
class ProjectedTrace:
    """A step that reads W @ x in place of x; `matrices` are the names of the W, in the order of its first inputs."""

    trace: Trace
    matrices: tuple[str, ...]


def projected_trace(trace: Trace) -> ProjectedTrace | None:
    """The step with an input for each product of a matrix with its first input, in place of that input.

    None where the step uses its first input in another way than by such products, or a matrix in another place too:
    then the products do not say all about either.
    """
    x = trace.inputs[0]
    params = {param.name for param in trace.params}
    products = [e for e in trace.equations if e.op is Op.MATMUL and e.args[1] == x and names_of(e.args[:1]) <= params]
    matrices: Mapping[str, Var] = {_name(e.args[0]): e.target for e in products}
    uses = [name for e in trace.equations for name in _names(e.args)]
    uses += [name for value in trace.outputs() for name in _names((value,))]
    if not products or uses.count(x.name) != len(products) or len(matrices) != len(products):
        return None
    if any(uses.count(name) != 1 for name in matrices):
        return None
    projections = {target.name: Var(f"{name}*{x.name}", target.shape) for name, target in matrices.items()}
    reading = with_uses(trace, lambda value: projections.get(value.name, value))
    projected = replace(
        reading,
        name=f"projected({trace.name})",
        inputs=(*projections.values(), *trace.inputs[1:]),
        params=tuple(param for param in trace.params if param.name not in matrices),
        equations=tuple(e for e in reading.equations if e.target.name not in projections),
        gates=tuple((name, value) for name, value in reading.gates if value.name not in projections),
    )
    check(projected)
    return ProjectedTrace(projected, tuple(matrices))


def _name(atom: Var | Literal) -> str:
    assert isinstance(atom, Var)
    return atom.name


def _names(atoms: tuple[Var | Literal, ...]) -> list[str]:
    return [atom.name for atom in atoms if isinstance(atom, Var)]
