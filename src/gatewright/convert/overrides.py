"""What a file does not state of its layers: overrides that the user gives, and the values assumed without them."""

from collections.abc import Callable, Mapping
from itertools import combinations, product
from typing import Any

from gatewright.cell_config.activations import HARD_SLOPES
from gatewright.cell_config.config import CellConfig
from gatewright.convert.layout import Layout
from gatewright.errors import ConversionError
from gatewright.network import Network

PREFIX = "prefix"
"""The override that is no field of a cell config: which layers of a file are meant, in their order."""
DEQUANTISE = "dequantise"
"""Whether weights of eight bits are to be read as the numbers that they stand for."""
_ACTIVATIONS = ("gate", "activation", "output")
_CHANGED_BY_WEIGHTS = "forget_bias"  # a writer adds what is missing to the bias

Overrides = dict[str, Any]
Assumed = Mapping[str, tuple[Any, ...]]
"""The value that was assumed for each override that nobody gave, followed by the other values of the framework."""


def refused_overrides(name: str, overrides: Mapping[str, Any], heeded: frozenset[str]) -> ConversionError:
    """The error for overrides that files of that format state themselves, or do not have."""
    refused = sorted(overrides.keys() - heeded)
    return ConversionError(
        f"files of {name} take no override {' or '.join(refused)}",
        expected=", ".join(sorted(heeded)) or "none: the file says everything itself",
        got=", ".join(f"{fact}={overrides[fact]!r}" for fact in refused),
        do="leave it out",
    )


def assumed(layout: Layout, config: CellConfig, overrides: Mapping[str, Any]) -> Assumed:
    """The fields of the config that arrays cannot tell and that were not overridden, with their values."""
    having: dict[str, tuple[Any, ...]] = {
        what: getattr(layout, what) for what in _ACTIVATIONS if what == "activation" or layout.family != "rnn"
    }
    if layout.family != "lstm":
        having.pop("output", None)  # as there is none where the framework takes the candidate's
    free = {name: values for name, values in having.items() if len(values) > 1}
    free |= {"forget_bias": ()} if layout.forget_bias else {}
    free |= {"cell_clip": ()} if layout.clips else {}
    free |= {"proj_clip": ()} if layout.clips and layout.projection else {}
    taken = {name: getattr(config, name) for name in free if overrides.get(name) is None}
    return {name: (value, *(other for other in free[name] if other != value)) for name, value in taken.items()}


def assumption_notes(network: Network) -> tuple[str, ...]:
    """A note of the values that were assumed in reading a file, and how to override them."""
    if not network.assumed:
        return ()
    taken = ", ".join(f"{name} {_shown(value)}" for name, (value, *_) in network.assumed.items())
    options = " ".join(_option(name, others) for name, (_, *others) in network.assumed.items())
    return (f"not in the file, and taken for granted: {taken}; where that is wrong, give {options}",)


def declaration_notes(overrides: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A note of the overrides that a written file needs when it is read."""
    if not overrides:
        return ()
    options = [
        f"--{fact.replace('_', '-')} {_shown(value)}"
        for fact, values in overrides.items()
        for value in (values if isinstance(values, tuple) else (values,))
    ]
    python = ", ".join(f"{fact}={value!r}" for fact, value in overrides.items())
    return (f"not in {name}, and to be given when it is read: {' '.join(options)}, or {python} in Python",)


def overrides_for(
    network: Network, read: Callable[[Overrides], Network], prove: Callable[[Network], Any], heeded: frozenset[str]
) -> tuple[Overrides, Network]:
    """The overrides that a written file needs when it is read, and the network that it is then.

    It is first read without any override, as another user would. `prove` raises ConversionError for a reading that
    computes something else.

    Raises ConversionError where no overrides make it the same, or they are not the same for all layers.
    """
    overrides: Overrides = {}
    try:
        stranger = read({})
    except UnorderedError as error:
        overrides = {PREFIX: error.modules}
        stranger = read(overrides)
    names = [name for name in stranger.assumed or _ACTIVATIONS if name in heeded and name != _CHANGED_BY_WEIGHTS]
    pairs = list(zip(network.recurrent, stranger.recurrent, strict=False))
    differing: dict[str, tuple[Any, ...]] = {}
    for name in names:
        wanted = [getattr(layer.cell_config, name) for layer, _ in pairs]
        if wanted == [getattr(other.cell_config, name) for _, other in pairs]:
            continue
        if len(set(wanted)) > 1:
            raise ConversionError(
                f"files of {stranger.layout} do not say the {name} of a layer, and these layers have different ones",
                expected=f"one {name} in all layers",
                got=", ".join(map(str, wanted)),
                do="convert the layers one by one, or choose a layout whose files say it, such as gatewright or onnx",
            )
        others = stranger.assumed.get(name, ())[1:] if wanted[0] in HARD_SLOPES else ()
        differing[name] = (
            wanted[0],
            *(other for other in others if other in HARD_SLOPES),
        )  # weights can change its slope
    failed: ConversionError | None = None
    choices = (  # the most overrides first: a writer may have put a difference into the weights
        dict(zip(names, chosen, strict=True))
        for count in range(len(differing), -1, -1)
        for names in combinations(differing, count)
        for chosen in product(*(differing[name] for name in names))
    )
    for chosen in choices:
        declared = overrides | chosen
        try:
            again = read(declared) if chosen else stranger
            prove(again)
        except ConversionError as error:
            failed = failed or error
        else:
            return declared, again
    raise failed or ConversionError("what was written cannot be read")


class UnorderedError(ConversionError):
    """Several modules, and their names tell neither which are meant nor their order."""

    modules: tuple[str, ...] = ()


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _option(name: str, others: list[Any]) -> str:
    return f"--{name.replace('_', '-')} {others[0] if len(others) == 1 else name.rpartition('_')[2].upper()}"
