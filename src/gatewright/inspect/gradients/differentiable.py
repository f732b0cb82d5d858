"""A model run so that its outputs and states can be differentiated by what it read. The model is not changed."""

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewright.errors import OptionError
from gatewright.inspect.activity.outputs import axis_of_rows, first_output, outputs_with_time_first
from gatewright.inspect.activity.record import RECURRENT_LAYERS, recurrent_layers
from gatewright.inspect.activity.unchanged import evaluation_mode, unchanged
from gatewright.inspect.gradients.reading import Reading

Change = Callable[[Tensor], Tensor]
Initial = Mapping[str, tuple[Tensor, ...]]
"""By the path of a recurrent layer: each of its states before the first step, (levels, rows, units)."""


@dataclass(frozen=True, eq=False)
class DifferentiableRun:
    """One run of a model.

    - `read` (time, rows, features): leaves of the graph: the numbers that were read, or the vectors of the symbols.
      There are several where the model reads a step at a time.
    - `outputs`: (time, rows, outputs), or (rows, outputs) where the model gives one answer a row.
    - `hidden` (time, rows, units): the output of each recurrent layer by its path, in the order in which they ran.
    - `result`: what the model gave, in words.
    """

    read: list[Tensor]
    outputs: Tensor | None
    hidden: Mapping[str, Tensor]
    result: str

    def gradient(self, scalar: Tensor) -> Tensor:
        """The derivative of a number by all that was read, (time, rows, features); 0 where nothing depends on it."""
        if not scalar.requires_grad:
            return torch.cat([torch.zeros_like(part) for part in self.read])
        return torch.cat(torch.autograd.grad(scalar, self.read, allow_unused=True, materialize_grads=True))

    @property
    def read_values(self) -> Tensor:
        """What was read, (time, rows, features)."""
        return torch.cat([part.detach() for part in self.read])


@contextmanager
def frozen(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients of parameters; afterwards modes and flags are as before.

    It is around the backward pass as well: a model that checkpoints runs parts of itself once more there.
    """
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        # cuDNN cannot differentiate a recurrent layer in evaluation mode.
        with evaluation_mode(model), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def run_differentiable(
    reading: Reading, *, change: Change | None = None, initial: Initial | None = None, from_start: Tensor | None = None
) -> DifferentiableRun:
    """Run a model within `frozen`. Its attributes, buffers and random numbers are as before.

    - `change`: what is done with the numbers or vectors (time, rows, features) before the model goes on with them.
    - `initial`: states that the recurrent layers begin with, but for rows where `from_start` is true.

    Raises OptionError where symbols do not become vectors within a module of their own, and where no recurrent layer
    runs.
    """
    hooks = _Hooks(reading, change, initial or {}, from_start)
    with ExitStack() as stack:
        stack.enter_context(unchanged(reading.model))  # so that each run begins with the state of the first
        for path, module in reading.model.named_modules():
            for handle in hooks.on(path, module):
                stack.callback(handle.remove)
        result = reading.model(*hooks.arguments())
    if not hooks.read:
        raise OptionError(
            f"no module of the {type(reading.model).__name__} turns symbols into vectors",
            expected="an embedding, or another module that reads symbols (...) and gives vectors (..., features)",
            do="give the vectors to a model that begins with the recurrent layer",
        )
    if not hooks.hidden:
        raise OptionError(f"no recurrent layer ran in the {type(reading.model).__name__}")
    hidden = {path: torch.cat(parts) if len(parts) > 1 else parts[0] for path, parts in hooks.hidden.items()}
    return DifferentiableRun(hooks.read, _outputs(result, reading), hidden, _in_words(result, reading))


def required_outputs(run: DifferentiableRun, reading: Reading) -> Tensor:
    """The outputs of a run. Raises OptionError where the model gives none with an axis of rows."""
    if run.outputs is None:
        first = "(batch, time, outputs)" if reading.batch_first else "(time, batch, outputs)"
        raise OptionError(
            f"the {type(reading.model).__name__} gives no outputs by row",
            expected=f"a tensor {first}, (batch, outputs) or (batch,), or a tuple that begins with one",
            got=run.result,
        )
    return run.outputs


@dataclass
class _Hooks:
    """Hooks that make leaves of what is read, put initial states in, and keep outputs of recurrent layers."""

    reading: Reading
    change: Change | None
    initial: Initial
    from_start: Tensor | None
    read: list[Tensor] = field(default_factory=list[Tensor])
    hidden: dict[str, list[Tensor]] = field(default_factory=dict[str, list[Tensor]])
    reader: nn.Module | None = None

    def on(self, path: str, module: nn.Module) -> Generator[Any]:
        if isinstance(module, RECURRENT_LAYERS):
            if path in self.initial:
                yield module.register_forward_pre_hook(self._before(path), with_kwargs=True)
            yield module.register_forward_hook(self._after(path))
        elif not self.reading.values.is_floating_point() and not any(module.children()):
            yield module.register_forward_hook(self._vectors)

    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the model; numbers are leaves."""
        values, *others = self.reading.arguments
        if not values.is_floating_point():
            return (values, *others)
        return (self._leaf(values, self.reading.batch_first), *others)

    def _leaf(self, values: Tensor, batch_first: bool) -> Tensor:
        time_major = values.detach().transpose(0, 1) if batch_first else values.detach()
        changed = time_major if self.change is None else self.change(time_major)
        leaf = changed.detach().clone().requires_grad_()
        self.read.append(leaf)
        return leaf.transpose(0, 1) if batch_first else leaf

    def _vectors(self, module: nn.Module, args: Any, output: Any) -> Any:
        """In place of the vectors of symbols, the same vectors as a leaf. Only the first such module is taken."""
        symbols = args[0] if args else None
        if not isinstance(symbols, Tensor) or symbols.is_floating_point() or not isinstance(output, Tensor):
            return None
        # One vector a symbol, or a sum over the symbols of a step. Else it is no embedding, but a count of symbols.
        is_sum = symbols.dim() > 2 and output.shape[:-1] == symbols.shape[:-1]
        is_embedding = output.is_floating_point() and (is_sum or output.shape[:-1] == symbols.shape)
        if not is_embedding or self.reader not in (None, module):
            return None
        self.reader = module
        if output.dim() == 2:  # one step
            return self._leaf(output[None], batch_first=False)[0]
        return self._leaf(output, self.reading.batch_first)

    def _before(self, path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if path in self.hidden:  # a later step of a layer that is called a step at a time
                return None
            own = args[1] if len(args) > 1 else kwargs.get("hx")
            states = self._merged(self.initial[path], own)
            hx = states[0] if len(states) == 1 else states
            options = {name: value for name, value in kwargs.items() if name != "hx"}
            input = args[0] if args else options.pop("input")
            return (input, hx, *args[2:]), options

        return hook

    def _merged(self, states: tuple[Tensor, ...], own: Any) -> tuple[Tensor, ...]:
        """The states, and in rows that begin at the start the layer's own."""
        if self.from_start is None:
            return states
        at_start = self.from_start[:, None].to(states[0].device)
        owned = (0.0,) * len(states) if own is None else (own,) if isinstance(own, Tensor) else own
        return tuple(torch.where(at_start, mine, state) for state, mine in zip(states, owned, strict=True))

    def _after(self, path: str) -> Any:
        def hook(module: nn.Module, args: Any, result: Any) -> None:
            output = result[0]
            if isinstance(output, PackedSequence):
                output, batch_first = pad_packed_sequence(output)[0], False
            else:
                batch_first: Any = module.batch_first
            if output.dim() == 2:
                output = output.unsqueeze(0 if batch_first else 1)
            self.hidden.setdefault(path, []).append(output.transpose(0, 1) if batch_first else output)

        return hook


def _outputs(result: Any, reading: Reading) -> Tensor | None:
    """What a model gives: time first, or one answer a row; None where it has no axis of rows, or none can be told."""
    steps, rows = reading.time_major.shape[:2]
    model = reading.model
    return outputs_with_time_first(
        result,
        steps,
        rows,
        row_axis=lambda: axis_of_rows(model, list(recurrent_layers(model).values()), reading.arguments, {}),
    )


def _in_words(result: Any, reading: Reading) -> str:
    first = first_output(result)
    steps, rows = reading.time_major.shape[:2]
    given = f"a tensor {tuple(first.shape)}" if isinstance(first, Tensor) else f"a {type(first).__name__}"
    return f"{given} for {rows} rows of {steps} steps"
