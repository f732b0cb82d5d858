"""A row of the results: which run it is, and what its numbers are held to."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from gatewright.tasks import recipes
from gatewright.tasks.recipe import Recipe

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """Who published a number, and where."""

    title: str
    address: str | None = None

    def __str__(self) -> str:
        return f"[{self.title}]({self.address})" if self.address else self.title


@dataclass(frozen=True)
class Goal:
    """A measure of a part of the data, the number that it is held to, and whose that is.

    "near" is as good within `within`; "shown" has no number to be held to.
    """

    measure: str  # such as "test accuracy"
    kind: Literal["at least", "at most", "near", "shown"] = "shown"
    wanted: float = 0.0
    source: Source | None = None
    remark: str = ""
    within: float = 0.0

    def value(self, metrics: Mapping[str, Mapping[str, float]]) -> float:
        """What a run measured. The part is all but the last word, since parts have names such as "64 bits"."""
        part, _, metric = self.measure.rpartition(" ")
        return metrics[part][metric]

    def met(self, value: float) -> bool | None:
        """Whether it is as good as wanted; None where nothing is wanted."""
        return {
            "at least": value >= self.wanted,
            "at most": value <= self.wanted,
            "near": abs(value - self.wanted) <= self.within,
            "shown": None,
        }[self.kind]


@dataclass(frozen=True)
class Row:
    """A run of a recipe with these settings, as `--set` takes them, on its own data or that of a name.

    `longer` is what the budget has no time for.
    """

    name: str
    recipe: str
    goals: tuple[Goal, ...]
    assignments: tuple[str, ...] = ()
    data: str | None = None
    seed: int = 0
    longer: bool = False

    def made(self) -> Recipe:
        """The recipe, set."""
        return recipes.get(self.recipe).configured(self.assignments, seed=self.seed)

    @property
    def command(self) -> str:
        """What trains it by hand."""
        words = ["gatewright", "train", self.recipe, *(["--data", self.data] if self.data else [])]
        for one in self.assignments:
            words += ["--set", one]
        return shlex.join([*words, *(["--seed", str(self.seed)] if self.seed else [])])

    def differences(self, recipe: str, settings: Settings, data: str | None) -> dict[str, tuple[Any, Any]]:
        """How a run differs from this row: what is wanted and what is there, by setting."""
        if recipe != self.recipe:
            return {"recipe": (self.recipe, recipe)}
        settled = {name: value for name, value in self.made().settings().items() if name not in _PRINTED_ONLY}
        wanted = {**settled, "data": self.data}
        there = {**_of_old, **settings, "data": data}
        return {key: (value, there.get(key)) for key, value in wanted.items() if there.get(key) != value}


def _defaults() -> Iterator[tuple[str, Any]]:
    for field in fields(Recipe):
        if field.default is not MISSING:
            yield field.name, field.default


_PRINTED_ONLY = frozenset({"prompts"})
"""Settings that change the samples that a run prints, and not what it reaches."""

_of_old = dict(_defaults())
"""A setting that came after a run was trained leaves what was there as it was."""
