"""From recorded symbols to a Trace, and back: what is reached, in the user's order, under the user's names."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import count

from gatewright.lang.cell import Cell
from gatewright.lang.ops import ACTIVATIONS, SUMS, Op
from gatewright.lang.param import Param
from gatewright.lang.preactivation import gate_name, is_preactivation
from gatewright.lang.symbol import Operand, Symbol
from gatewright.trace.check import check
from gatewright.trace.ir import Atom, Equation, Literal, Noise, Trace, Var
from gatewright.trace.tracer import Tracer, run_cell

_SQUASHING = ACTIVATIONS - {Op.SOFTPLUS}  # softplus is a part of other functions (log-sigmoid), not a gate


@lru_cache(maxsize=256)
def trace_cell(cell: Cell) -> Trace:
    """The Trace of one step of a cell.

    Raises CellError where the equations break a rule of the language; it names the cell, the file and the line.
    """
    tracer, operands, new = run_cell(cell)
    order = {space: index for index, space in enumerate(cell.spaces)}
    params = sorted(tracer.params.values(), key=lambda param: order[Param.parse(param.name or "").space])
    return finish_trace(
        tracer,
        cell.label,
        inputs=operands.inputs.values(),
        states=operands.states.values(),
        params=params,
        next_states=new,
        gates=_gates(reached(tracer, new), new),
    )


def finish_trace(
    tracer: Tracer,
    name: str,
    *,
    inputs: Iterable[Symbol],
    states: Iterable[Symbol],
    params: Iterable[Symbol],
    next_states: Sequence[Operand],
    emits: Mapping[str, Operand] | None = None,
    sums: Mapping[str, Operand] | None = None,
    gates: Mapping[str, Symbol] | None = None,
    order: int = 0,
) -> Trace:
    """The checked Trace of the recorded operations that the outputs need. Parameters that none needs are left out."""
    emits, sums, gates = emits or {}, sums or {}, gates or {}
    outputs = [*next_states, *emits.values(), *sums.values()]
    used = reached(tracer, outputs)
    needed = {id(arg) for symbol in used for arg in symbol.args} | {id(value) for value in outputs}
    names = _SymbolNames([*inputs, *states, *(symbol for symbol, _, _ in tracer.noises)])
    leaves = {id(symbol): _leaf(symbol) for symbol in [*inputs, *states, *tracer.params.values(), *params]}
    leaves |= {id(symbol): _leaf(symbol) for symbol, _, _ in tracer.noises}
    states = list(states)
    following = {id(value): state.name for value, state in zip(next_states, states, strict=True)}
    bound: dict[int, Var] = dict(leaves)
    for symbol in used:
        bound[id(symbol)] = Var(names.of(symbol, following.get(id(symbol))), symbol.shape)

    def atom(value: Operand) -> Atom:
        return bound[id(value)] if isinstance(value, Symbol) else Literal(value)

    trace = Trace(
        name=name,
        inputs=tuple(leaves[id(symbol)] for symbol in inputs),
        states=tuple(leaves[id(symbol)] for symbol in states),
        params=tuple(leaves[id(symbol)] for symbol in params if id(symbol) in needed),
        noises=tuple(Noise(leaves[id(s)], rate, per) for s, rate, per in tracer.noises if id(s) in needed),
        equations=tuple(
            Equation(bound[id(s)], s.op, tuple(map(atom, s.args)), s.attrs, s.where) for s in used if s.op is not None
        ),
        next_states=tuple(map(atom, next_states)),
        emits=tuple((key, atom(value)) for key, value in emits.items()),
        sums=tuple((key, atom(value)) for key, value in sums.items()),
        gates=tuple((key, bound[id(value)]) for key, value in gates.items() if id(value) in bound),
        order=order,
    )
    check(trace)
    return trace


class Replay:
    """The equations of a Trace recorded once more, under the same names and lines, in a tracer that then goes on.

    An op that has a rule is recorded as what its rule makes of the operands. `leaves` are the trace's own.
    """

    def __init__(self, trace: Trace, name: str, rules: Mapping[Op, Callable[..., Operand]] | None = None) -> None:
        self.tracer = tracer = Tracer(name)
        self.leaves = {leaf.name: tracer.leaf(leaf.name, leaf.shape) for leaf in trace.leaves()}
        tracer.params = {param.name: self.leaves[param.name] for param in trace.params}
        tracer.noises = [(self.leaves[noise.var.name], noise.probability, noise.per) for noise in trace.noises]
        self._values: dict[str, Operand] = dict(self.leaves)
        for equation in trace.equations:
            with tracer.at(equation.where):
                rule = (rules or {}).get(equation.op)
                args = self.operands(equation.args)
                value = rule(*args, **dict(equation.attrs)) if rule else tracer.emit(equation.op, args, equation.attrs)
            if isinstance(value, Symbol) and not equation.target.name.startswith("%"):
                value.name = equation.target.name
            self._values[equation.target.name] = value

    def operands(self, atoms: Iterable[Atom]) -> tuple[Operand, ...]:
        """The recorded values of some atoms."""
        return tuple(atom.value if isinstance(atom, Literal) else self._values[atom.name] for atom in atoms)

    def outputs(self, named: Iterable[tuple[str, Atom]]) -> dict[str, Operand]:
        """The recorded values of some outputs, by their names."""
        return {name: self.operands([value])[0] for name, value in named}

    def symbol(self, value: Var) -> Symbol:
        """A recorded value that is known to be a symbol: a leaf, or an equation's result."""
        symbol = self._values[value.name]
        assert isinstance(symbol, Symbol), value.name
        return symbol


def reached(tracer: Tracer, outputs: Iterable[Operand]) -> list[Symbol]:
    """The operations that the outputs depend on, in the order in which they were recorded."""
    seen: set[int] = set()
    todo = list(outputs)
    while todo:
        value = todo.pop()
        if isinstance(value, Symbol) and id(value) not in seen:
            seen.add(id(value))
            todo.extend(value.args)
    return [symbol for symbol in tracer.order if id(symbol) in seen]


def _leaf(symbol: Symbol) -> Var:
    return Var(symbol.name or "", symbol.shape)


class _SymbolNames:
    """Gives every value a name of its own, the user's where there is one."""

    def __init__(self, reserved: Iterable[Symbol]) -> None:
        self._taken = {symbol.name for symbol in reserved}
        self._unnamed = 0

    def of(self, symbol: Symbol, next_state: str | None) -> str:
        """The state's name with a prime for a new state; the user's name; or the next of %0, %1, ..."""
        wanted = f"{next_state}'" if next_state else symbol.name
        if not wanted:
            self._unnamed += 1
            return f"%{self._unnamed - 1}"
        name, tries = wanted, 0
        while name in self._taken:
            tries += 1
            name = f"{wanted}_{tries}"
        self._taken.add(name)
        return name


def _gates(used: list[Symbol], new: Sequence[Symbol]) -> dict[str, Symbol]:
    """The gates of a cell: activations of pre-activations, and linear candidates that the user gave a name.

    A gate is called as its parameters are (W.r, b.r -> r), else by the user's variable.
    """
    inner = {id(arg) for symbol in used if symbol.op in SUMS | ACTIVATIONS for arg in symbol.args}
    inner |= {id(symbol) for symbol in new}
    candidates: list[tuple[str | None, Symbol]] = []
    for symbol in used:
        if symbol.op in _SQUASHING and is_preactivation(symbol.args[0]):
            candidates.append((gate_name(symbol.args[0], symbol.name), symbol))
        elif symbol.name and id(symbol) not in inner and is_preactivation(symbol):
            candidates.append((gate_name(symbol, symbol.name), symbol))
    uses = Counter(name for name, _ in candidates)
    gates: dict[str, Symbol] = {}
    for name, symbol in candidates:
        # where one parameter's name stands for two gates, the user's variables tell them apart
        own = symbol.name if uses[name] > 1 and symbol.name else name
        others = (f"gate{n}" for n in count(len(gates)))
        gates[own if own and own not in gates else next(n for n in others if n not in gates)] = symbol
    return gates
