"""The data of one run: its parts as batches, the sizes of a network for it, and what is known of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from gatewright.tasks.data.scaling import Scaling

Encoding = Literal["values", "standardised", "one-hot", "embedding", "embedding-sum"]
Pooling = Literal["each step", "last", "mean", "max"]
Directions = Literal["both", "forward"]
Panel = Callable[[Any], None]
"""Draws into the matplotlib axes that it is given, beside the curves of a run."""


class Batches(Protocol):
    """One part of a data set, as batches that can be asked for by their place, so that any order can be resumed.

    A batch has `inputs` and `targets`, time first, and `lengths` where its rows are ragged. Where only some of its rows
    go on with the state of the batch before, `continues` says which, (rows,).
    """

    @property
    def carries_state(self) -> bool:
        """Whether row r of a batch continues row r of the one before it (position 0 starts anew)."""
        ...

    def __len__(self) -> int: ...

    def batch(self, epoch: int, position: int) -> Any:
        """The batch at that place."""
        ...


@dataclass(frozen=True)
class Sizes:
    """What a network must know of its data: features or symbols in, values or classes out, and their names."""

    inputs: int
    outputs: int
    vocabulary: tuple[str, ...] | None = None  # of the symbols
    classes: tuple[str, ...] | None = None
    variables: tuple[str, ...] | None = None  # the names of the inputs' columns, in their order

    def named_as(self, model_sizes: "Sizes") -> "Sizes":
        """These sizes without the names that the others lack, as those of a model of an earlier version do."""
        unnamed = [name for name in ("classes", "variables") if getattr(model_sizes, name) is None]
        return replace(self, **dict.fromkeys(unnamed))

    def beside(self, other: "Sizes") -> str:
        """What a person is told of these sizes where they are not the other's: nothing but what differs."""
        texts = {
            "inputs": f"{self.inputs} inputs",
            "outputs": f"{self.outputs} outputs",
            "vocabulary": f"a vocabulary of {len(self.vocabulary or ()):,} symbols",
            "classes": f"the classes {', '.join(self.classes or ())}" if self.classes else "classes without names",
            "variables": f"the variables {', '.join(self.variables)}" if self.variables else "variables without names",
        }
        return "; ".join(text for name, text in texts.items() if getattr(self, name) != getattr(other, name))[:300]


@dataclass(frozen=True)
class Data:
    """The data of one run: "train", "validation" where there is one, and parts that are measured at the end."""

    parts: Mapping[str, Batches]
    sizes: Sizes
    measured: tuple[str, ...] = ("validation", "test")  # the parts that a finished network is measured on
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])  # what it was read from, to check a resumed run
    scaling: Scaling | None = None  # of the features in the training part, for a network that standardises them
    fitted: Mapping[str, Any] = field(default_factory=dict[str, Any])  # settings that follow from this data
    prompts: tuple[str, ...] = ()  # what a model of a text may be given to continue
    remarks: tuple[str, ...] = ()  # lines for a person: what was inferred of the data, such as "time: Date (daily)"
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """What is true of a part before it is measured, such as the share of words that a model does not know."""
    signature: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What inputs and outputs mean, ready for JSON: names, tokenisation, scaling, frequency. It stays with the model,
    so that a stranger can prepare inputs and read outputs."""
