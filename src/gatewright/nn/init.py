"""Initialisers of a layer's parameters, by the names that papers and frameworks give them.

An initialiser fills the named parameters of one layer in place. It is asked for by name, or several together:

    init="torch"
    init="orthogonal + glorot + chrono(max_steps=784)"
    init=[orthogonal(gain=1.1), "forget_bias", my_function]    # my_function(parameters, sizes) -> None

They are applied in order, and a later one overwrites an earlier. What none of them sets begins as PyTorch
draws it, except that biases (the spaces whose name begins with "b") begin at zero.
"""

import ast
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor, nn

from gatewright.errors import OptionError
from gatewright.lang.param import Param
from gatewright.trace import Trace
from gatewright.trace.roles import GateRoles, gate_roles

Parameters = Mapping[str, Tensor]  # {"W.r": a view (hidden, input), "U.r": ..., "b.r": ...} of one layer
Sizes = Mapping[str, int]  # {"input": 28, "hidden": 128}
Rule = Callable[[Parameters, Sizes], object]
Init = str | Rule | Sequence[str | Rule]
Options = ParamSpec("Options")

ALIASES = {"torch": "torch_uniform", "glorot": "glorot_uniform"}
RULES: dict[str, Callable[..., None]] = {}


class LayerParameters(dict[str, Tensor]):
    """The named parameters of one layer of a cell, and what the cell's equations say of its gates."""

    def __init__(self, named: Parameters, trace: Trace) -> None:
        super().__init__(named)
        self._trace = trace

    @property
    def roles(self) -> GateRoles:
        """Which gates keep the old state, and which replace it."""
        return gate_roles(self._trace)


@dataclass(frozen=True)
class Initialiser:
    """A rule with its options, shown as it is asked for: `chrono(max_steps=784)`."""

    name: str
    options: Mapping[str, object] = field(hash=False)

    def __call__(self, parameters: Parameters, sizes: Sizes) -> None:
        """Fill, in place, those of `parameters` that this rule speaks of."""
        with torch.no_grad():
            RULES[self.name](parameters, sizes, **self.options)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{option}={value!r}' for option, value in self.options.items())})"


@dataclass(frozen=True)
class Composite:
    """Initialisers applied one after the other; the first of them sets every parameter."""

    parts: tuple[Rule, ...]

    def __call__(self, parameters: Parameters, sizes: Sizes, starts: Mapping[str, float] | None = None) -> None:
        """Fill all `parameters` in place; `starts` are the constants at which a cell starts some of them."""
        with torch.no_grad():
            for part in self.parts:
                part(parameters, sizes)
                for name, value in (starts or {}).items() if _sets_all(part) else ():
                    parameters[name].fill_(value)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


def resolve(init: Init) -> Composite:
    """Check `init` and return one callable (parameters, sizes) that sets every parameter.

    Raises OptionError for a name that is not known, or options that the initialiser does not take.
    """
    if isinstance(init, Composite):
        return init
    wishes = init if isinstance(init, Sequence) and not isinstance(init, str) else [init]
    parts = tuple(part for wish in wishes for part in _parts(wish))
    complete = bool(parts) and isinstance(parts[0], Initialiser) and parts[0].name == "torch_uniform"
    return Composite(parts if complete else (torch_uniform(zero_biases=True), *parts))


def _sets_all(part: Rule) -> bool:
    """Whether an initialiser fills every parameter with no regard to its role: then a cell's constants overwrite it.

    An initialiser of certain gates, or a function of the user's, overwrites the constants.
    """
    return isinstance(part, Initialiser) and part.name in ("torch_uniform", "uniform", "normal", "truncated_normal")


def _parts(wish: str | Rule) -> list[Rule]:
    if isinstance(wish, str):
        try:
            tree = ast.parse(wish.strip(), mode="eval").body
        except SyntaxError as error:
            raise _unreadable(wish) from error
        return [_from_text(part, wish) for part in _summands(tree)]
    if not callable(wish):
        raise OptionError(
            f"init holds {wish!r}, which is no initialiser",
            expected=_known_names(),
            do="pass a name, or a function (parameters, sizes) that fills the parameters in place",
        )
    for name, rule in RULES.items():
        if getattr(wish, "__wrapped__", None) is rule:  # init=orthogonal, where orthogonal() is meant
            return [_with_options(name)]
    return [wish]


def _summands(tree: ast.expr) -> Iterator[ast.expr]:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add):
        yield from _summands(tree.left)
        yield from _summands(tree.right)
    else:
        yield tree


def _from_text(tree: ast.expr, text: str) -> Initialiser:
    call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
    if not isinstance(call.func, ast.Name):
        raise _unreadable(text)
    name = ALIASES.get(call.func.id, call.func.id)
    if name not in RULES:
        raise OptionError(
            f'no initialiser is called "{call.func.id}"',
            expected=_known_names(),
            got=f'init="{text}"',
        )
    try:
        values = [ast.literal_eval(value) for value in call.args]
        options = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError as error:
        raise _unreadable(text) from error
    return _with_options(name, *values, **options)


def _unreadable(text: str) -> OptionError:
    return OptionError(
        f'init="{text}" cannot be read',
        expected='names joined by +, and plain values for options: "orthogonal + chrono(max_steps=784)"',
        do="write it so, or pass a list of names and functions",
        shell="write it so, between quotation marks: --set 'init=orthogonal + glorot'",
    )


def _known_names() -> str:
    return "one of " + ", ".join(sorted({*RULES, *ALIASES}))


def _with_options(name: str, *args: object, **kwargs: object) -> Initialiser:
    signature = _signature_of_options(RULES[name])
    try:
        return Initialiser(name, signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise OptionError(
            f"{name} cannot take these options: {error}",
            expected=f"{name}({', '.join(map(str, signature.parameters.values()))})",
        ) from error


def _signature_of_options(rule: Callable[..., None]) -> inspect.Signature:
    _, _, *options = inspect.signature(rule).parameters.values()
    return inspect.Signature(options, return_annotation=Initialiser)


def _named(rule: Callable[Concatenate[Parameters, Sizes, Options], None]) -> Callable[Options, Initialiser]:
    """Make `rule` known by its name; the function returned takes its options and gives an Initialiser."""
    RULES[rule.__name__] = rule

    @functools.wraps(rule)
    def with_options(*args: Options.args, **kwargs: Options.kwargs) -> Initialiser:
        return _with_options(rule.__name__, *args, **kwargs)

    vars(with_options)["__signature__"] = _signature_of_options(rule)
    return with_options


@_named
def torch_uniform(parameters: Parameters, sizes: Sizes, zero_biases: bool = False) -> None:
    """Everything from U(-1/sqrt(hidden), 1/sqrt(hidden)), as torch.nn.RNN, GRU, LSTM; or with zero biases."""
    RULES["uniform"](parameters, sizes, 1 / math.sqrt(max(1, sizes["hidden"])), zero_biases)


@_named
def uniform(parameters: Parameters, _: Sizes, bound: float = 0.1, zero_biases: bool = False) -> None:
    """Everything from U(-bound, bound), as the language models of Zaremba et al. 2014, 1409.2329; or zero biases."""
    for name, tensor in parameters.items():
        if zero_biases and _is_bias(name):
            tensor.zero_()
        else:
            tensor.uniform_(-bound, bound)


@_named
def orthogonal(parameters: Parameters, _: Sizes, gain: float = 1.0, spaces: str | Sequence[str] = "U") -> None:
    """Each gate's recurrent matrix orthogonal, times `gain`.

    Andrew Saxe, James McClelland, Surya Ganguli (2014), Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks, arXiv:1312.6120. Keras draws one matrix for all gates together instead.
    Theano's sentiment tutorial uses it for the input matrices too: `spaces=("U", "W")`.
    """
    for tensor in _matrices(parameters, spaces):
        drawn = nn.init.orthogonal_(tensor.new_empty(tensor.shape, dtype=torch.float64), gain)
        tensor.copy_(drawn)  # bfloat16 has no QR decomposition


@_named
def glorot_uniform(parameters: Parameters, _: Sizes, spaces: str | Sequence[str] = "W") -> None:
    """Each gate's input matrix from U(-a, a) with a = sqrt(6 / (inputs + outputs)).

    Xavier Glorot, Yoshua Bengio (2010), Understanding the difficulty of training deep feedforward neural
    networks, AISTATS. Keras counts the outputs of all gates together, and so draws from a narrower range.
    """
    for tensor in _matrices(parameters, spaces):
        nn.init.xavier_uniform_(tensor)


@_named
def identity(parameters: Parameters, _: Sizes, gain: float = 1.0, spaces: str | Sequence[str] = "U") -> None:
    """Each gate's recurrent matrix the identity, times `gain`.

    Quoc Le, Navdeep Jaitly, Geoffrey Hinton (2015), A simple way to initialize recurrent networks of
    rectified linear units, arXiv:1504.00941. The other weights are Gaussian: `"normal(0.001) + identity"`.
    """
    for tensor in _matrices(parameters, spaces):
        nn.init.eye_(tensor).mul_(gain)


@_named
def normal(parameters: Parameters, _: Sizes, std: float = 0.01) -> None:
    """Gaussian weights of standard deviation `std` and zero biases.

    As the GRU from scratch in Dive into Deep Learning (Aston Zhang and others): its text says a variance of
    0.01, its code a standard deviation of 0.01, and so does this.
    """
    for name, tensor in parameters.items():
        if _is_bias(name):
            tensor.zero_()
        else:
            tensor.normal_(0, std)


@_named
def truncated_normal(parameters: Parameters, _: Sizes, std: float = 0.01) -> None:
    """Everything, biases too, Gaussian and cut at two standard deviations, as in TensorFlow 1."""
    for tensor in parameters.values():
        drawn = nn.init.trunc_normal_(tensor.new_empty(tensor.shape, dtype=torch.float32), 0, std, -2 * std, 2 * std)
        tensor.copy_(drawn)


@_named
def forget_bias(
    parameters: Parameters,
    _: Sizes,
    value: float = 1.0,
    keep_gates: str | Sequence[str] = (),
    replace_gates: str | Sequence[str] = (),
) -> None:
    """The bias of the forget gate at `value`, so that the cell begins by remembering.

    Which gate keeps the old state when it is 1 (the f of an LSTM, the z of PyTorch's GRU), or else replaces it (the z
    of minGRU, the f of MGU: it gets -value), is read off the cell's equations unless you name the gates.
    Felix Gers, Jürgen Schmidhuber, Fred Cummins (2000), Learning to forget: continual prediction with LSTM;
    the value 1 is from Rafal Jozefowicz, Wojciech Zaremba, Ilya Sutskever (2015), An empirical exploration of
    recurrent network architectures. TensorFlow 1's GRUCell does it to both gates: `keep_gates=("r", "z")`.
    Raises OptionError where there is no such gate, or the layer has no bias for it.
    """
    roles = _roles(parameters, keep_gates, replace_gates, "forget_bias")
    if roles.keeps and not replace_gates:  # beside the f of minLSTM, its i replaces the state too
        roles = replace(roles, replaces=())
    for gate, sign in roles.signs().items():
        _bias(parameters, gate, "forget_bias").fill_(sign * value)


@_named
def chrono(
    parameters: Parameters,
    _: Sizes,
    max_steps: int,
    keep_gates: str | Sequence[str] = (),
    replace_gates: str | Sequence[str] = (),
) -> None:
    """Biases that make the memory of the units range from one step to `max_steps`.

        b.f = log(uniform(1, max_steps - 1)); b.i = -b.f    # an LSTM
        b.z = log(uniform(1, max_steps - 1))                # a GRU whose z keeps the old state when 1
        b.z = -log(uniform(1, max_steps - 1))               # a GRU whose z replaces it

    Which gates keep the old state when they are 1, and which replace it, is read off the cell's equations unless you
    name them. A gate that scales what is added to the state, as the i of an LSTM, gets the other sign.
    Raises OptionError where there is no such gate, or the layer has no bias for it.
    Corentin Tallec, Yann Ollivier (2018), Can recurrent neural networks warp time?, arXiv:1804.11188.
    """
    if max_steps < 2:
        raise OptionError(
            f"chrono(max_steps={max_steps}) has no range to draw from",
            expected="the number of steps that the longest dependency spans, at least 2",
        )
    roles = _roles(parameters, keep_gates, replace_gates, "chrono")
    signs = roles.signs()
    for gate, sign in signs.items():
        _bias(parameters, gate, "chrono").uniform_(1, max_steps - 1).log_().mul_(sign)
    for gate, other in roles.writes.items():
        if gate not in signs and other in signs:
            _bias(parameters, gate, "chrono").copy_(-signs[other] * _bias(parameters, other, "chrono"))


def _roles(
    parameters: Parameters, keep_gates: str | Sequence[str], replace_gates: str | Sequence[str], asker: str
) -> GateRoles:
    """The gates that are to be set: those that were named, else what the equations say."""
    known = parameters.roles if isinstance(parameters, LayerParameters) else GateRoles()
    keeps, replaces = _as_tuple(keep_gates), _as_tuple(replace_gates)
    roles = replace(known, keeps=keeps, replaces=replaces) if keeps or replaces else known
    if not roles.keeps and not roles.replaces:
        raise OptionError(
            f"{asker} found no gate that decides how much of the old state stays",
            expected="equations such as z * h + (1 - z) * n, with a gate z",
            got=f"a layer with the parameters {', '.join(parameters)}",
            do=f'name a gate that keeps the state when it is 1, {asker}(..., keep_gates="k"), '
            'or one that replaces it, replace_gates="k"',
        )
    return roles


def _is_bias(name: str) -> bool:
    return name.startswith("b")


def _as_tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _matrices(parameters: Parameters, spaces: str | Sequence[str]) -> list[Tensor]:
    wanted = _as_tuple(spaces)
    return [t for name, t in parameters.items() if Param.parse(name).space in wanted and t.dim() == 2]


def _bias(parameters: Parameters, gate: str, asker: str) -> Tensor:
    try:
        return parameters[f"b.{gate}"]
    except KeyError:
        raise OptionError(
            f"{asker} found no bias b.{gate} to set",
            got=f"a layer with the parameters {', '.join(parameters)}",
            do=f'leave bias=True, or name the gates whose biases are to be set: {asker}(..., keep_gates="k")',
        ) from None
