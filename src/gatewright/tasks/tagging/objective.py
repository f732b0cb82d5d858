"""A tag for each step: the loss and the measures, and which tags may follow each other."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gatewright.tasks.data.tags.schemes import Scheme, Transitions, best_paths, entities_of
from gatewright.tasks.objectives import Classes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gatewright.tasks.tagging.chain_crf import ChainCrf

_RIGHT, _PREDICTED, _WANTED = "entities that are right", "entities that are predicted", "entities in the data"
_UNTYPED = "entity"  # the name of the type of tags without one


@dataclass(frozen=True)
class Tags(Classes):
    """Cross entropy of each step's tag, over the steps that have one.

    With a conditional random field the loss is -log p of the tags of a whole row, divided equally among its steps. The
    measures are those of the most probable tags. If the tagging scheme or a random field restricts transitions, these
    are the most probable tags of the row together.
    """

    items: ClassVar[str] = "steps"
    classes: tuple[str, ...] = ()
    scheme: Scheme = "none"
    crf: "ChainCrf | None" = field(default=None, compare=False, repr=False)

    def with_network(self, network: "nn.Module") -> Self:
        """The same with the conditional random field of the network, where it has one."""
        return replace(self, crf=getattr(network, "crf", None))

    @property
    def transitions(self) -> Transitions:
        """The scores of transitions between tags."""
        return self._allowed if self.crf is None else self.crf.transitions()

    @cached_property
    def _allowed(self) -> Transitions:
        return Transitions.of(self.classes, self.scheme)

    def losses(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """The loss of each step that is not padding."""
        if self.crf is None:
            return super().losses(outputs, batch)
        present = batch.targets != self.padding
        rows = self.crf.negative_log_likelihood(outputs, batch.targets, batch.lengths) / batch.lengths
        return rows.expand(present.shape)[present]

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Accuracy of each step."""
        return super().scores(self._decided(outputs, batch), batch)

    def confusion(self, outputs: "Tensor", batch: Any, classes: int) -> "Tensor":
        """Counts of true tags (rows) by predicted tags (columns)."""
        return super().confusion(self._decided(outputs, batch), batch, classes)

    def _decided(self, outputs: "Tensor", batch: Any) -> "Tensor":
        """Outputs with their maximum of each step at the decoded tag."""
        if self.crf is None:
            return outputs
        import torch

        decided = torch.zeros_like(outputs)
        for row, path in enumerate(self._paths(outputs, batch)):
            decided[torch.arange(len(path)), row, torch.from_numpy(path)] = 1
        return decided

    def _paths(self, outputs: "Tensor", batch: Any) -> list[Any]:
        scores = outputs.log_softmax(-1).float().cpu().numpy()
        return best_paths(scores, batch.lengths.cpu().numpy(), self.transitions)


@dataclass(frozen=True)
class EntityTags(Tags):
    """The same for tags that mark entities.

    Accuracy counts steps. `precision`, `recall` and `f1` count whole entities: correct in type, start and end, over
    all sentences together: the numbers of conlleval, and of seqeval in its default mode with the average "micro".
    """

    headline: ClassVar[str] = "f1"
    unscored: ClassVar[str] = "no entity"
    scheme: Scheme = "BIO"

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The types of entities, sorted."""
        entities = entities_of(self.classes)
        return tuple(sorted({entity.kind for entity in entities}))

    def scores(self, outputs: "Tensor", batch: Any) -> Mapping[str, "Tensor"]:
        """Accuracy of each step; and for each row the entities that are right, predicted, and in the data."""
        import torch

        right: list[bool] = []
        counts: list[tuple[int, int, int]] = []
        for path, wanted in self._tags(outputs, batch):
            right += [predicted_tag == true_tag for predicted_tag, true_tag in zip(path, wanted, strict=True)]
            predicted, present = set(entities_of(path)), set(entities_of(wanted))
            counts.append((len(predicted & present), len(predicted), len(present)))
        columns = torch.tensor(counts, dtype=torch.float64).reshape(-1, 3).unbind(1)
        names = (_RIGHT, _PREDICTED, _WANTED)
        return {"accuracy": torch.tensor(right), **dict(zip(names, columns, strict=True))}

    def reported(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        """The types of entities, and what is none."""
        return (*(kind or _UNTYPED for kind in self.kinds), self.unscored)

    def confusion(self, outputs: "Tensor", batch: Any, classes: int) -> "Tensor":
        """Entities by their type, as they are (rows) and as they are predicted with the same start and end (columns).

        The last row counts predictions where there is no entity, the last column entities that are missed.
        """
        import torch

        counts = torch.zeros(classes, classes, dtype=torch.int64)
        places = {kind: place for place, kind in enumerate(self.kinds)}
        for path, wanted in self._tags(outputs, batch):
            predicted, present = (
                {entity[1:]: places[entity.kind] for entity in entities_of(tags)} for tags in (path, wanted)
            )
            for span in {**predicted, **present}:
                counts[present.get(span, classes - 1), predicted.get(span, classes - 1)] += 1
        return counts

    def _tags(self, outputs: "Tensor", batch: Any) -> Iterator[tuple[list[str], list[str]]]:
        """For each row the predicted tags, and those of the data."""
        targets = batch.targets.cpu().numpy()
        for row, path in enumerate(self._paths(outputs, batch)):
            yield [self.classes[tag] for tag in path], [self.classes[tag] for tag in targets[: len(path), row]]

    def measures(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """The means over steps, and precision, recall and F1 of entities.

        Recall and F1 are NaN where the data has no entities. Precision is 0 where none is predicted.
        """
        kept = {name: value for name, value in means.items() if name not in (_RIGHT, _PREDICTED, _WANTED)}
        if _RIGHT not in means:
            return kept
        right, predicted, wanted = (means[name] for name in (_RIGHT, _PREDICTED, _WANTED))
        return {
            **kept,
            "precision": right / predicted if predicted else 0.0,
            "recall": right / wanted if wanted else math.nan,
            "f1": 2 * right / (predicted + wanted) if wanted else math.nan,
        }
