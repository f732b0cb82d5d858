"""What the recipe `tagging` makes of sentences: numbers for its network, and what a model file says of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data import Parts, Ragged, RaggedBatches
from gatewright.tasks.data.sources import source_name
from gatewright.tasks.data.tagged_sentences import TagColumns, TaggedSentences
from gatewright.tasks.data.token_features import FEATURES, RULES, FeatureVocabulary
from gatewright.tasks.data.tokens import tokenising
from gatewright.tasks.recipe import Data, Sizes
from gatewright.tasks.tags import Tags

if TYPE_CHECKING:
    from gatewright.tasks.step_labeller import StepLabeller

_MEASURED_ROWS = 100


def token_data(recipe: "StepLabeller", source: object, parts: Parts[TaggedSentences], columns: TagColumns) -> Data:
    """The parts of sentences as batches, with all settings that the data decides."""
    found, scheme = parts.train.scheme, recipe.scheme
    scheme = ("BIO" if found == "IOB1" else found) if scheme == "infer" else scheme
    parts = Parts(*(part.written_as(scheme) for part in parts))
    vocabulary = FeatureVocabulary.from_sentences(parts.train.tokens, least=recipe.least)
    classes = tuple(sorted({tag for part in parts for tags in part.tags for tag in tags}))
    read = {name: tuple(_encoded(part, vocabulary, classes)) for name, part in parts._asdict().items()}
    tokens, tags = read["train"]
    window = recipe.window
    cut = Ragged(tokens.values, *windows_of(tokens, window)), Ragged(tags.values, *windows_of(tags, window))
    batches = {
        "train": RaggedBatches(*cut, recipe.batch, seed=recipe.seed, target_fill=Tags.padding, symbols=True),
        **{name: measured_batches(*read[name], symbols=True) for name in ("validation", "test")},
    }
    epochs = recipe.enough_epochs(len(cut[0]))
    divided = tokenising(parts.train.tokens)
    return Data(
        batches,
        Sizes(len(vocabulary), len(classes), vocabulary.symbols, classes),
        measured=("validation", "test"),
        origin={"tagged": source_name(source), "tags": parts.train.counts(), "sentences": len(parts.train)},
        fitted={
            name: value
            for name, value in (
                ("inputs", "tokens"),
                ("scheme", scheme),
                ("text", columns.text),
                ("label", columns.label),
                ("epochs", epochs),
            )
            if getattr(recipe, name) != value
        },
        remarks=tuple(filter(None, (columns.remark, _said(found, scheme), f"plain text is divided: {divided.about}"))),
        signature={
            "columns": {"text": columns.text, "label": columns.label},
            "tokenise": divided.name,
            "tokens": {"columns": list(FEATURES), **RULES},
            "scheme": scheme,
        },
    )


def windows_of(sequences: Ragged, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths of pieces of that many steps at most, of each sequence about equally long."""
    counts = -(-sequences.lengths // window)
    whole = np.repeat(np.arange(len(sequences)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = place * sequences.lengths[whole] // counts[whole]
    end = (place + 1) * sequences.lengths[whole] // counts[whole]
    return sequences.starts[whole] + begin, end - begin


def _encoded(part: TaggedSentences, vocabulary: FeatureVocabulary, classes: Sequence[str]) -> tuple[Ragged, Ragged]:
    numbers = {name: number for number, name in enumerate(classes)}
    lengths = [len(tokens) for tokens in part.tokens]
    tags = np.array([numbers[tag] for tags in part.tags for tag in tags], np.int64)
    return encoded_tokens(part.tokens, vocabulary), Ragged.from_lengths(tags, lengths)


def encoded_tokens(sentences: Sequence[Sequence[str]], vocabulary: FeatureVocabulary) -> Ragged:
    """Each sentence as numbers, (tokens, features)."""
    numbers = vocabulary.encode(token for tokens in sentences for token in tokens)
    return Ragged.from_lengths(numbers, [len(tokens) for tokens in sentences])


def measured_batches(steps: Ragged, tags: Ragged, *, symbols: bool) -> RaggedBatches:
    """Batches of whole sequences of about equal length, in the same order always."""
    return RaggedBatches(steps, tags, _MEASURED_ROWS, target_fill=Tags.padding, symbols=symbols)


def token_evaluation(
    source: object, parts: Mapping[str, TaggedSentences], classes: Sequence[str], sizes: Sizes, scheme: Any
) -> Data:
    """Other sentences, in what the model knows.

    Raises DataError for tags that it does not know.
    """
    parts = {name: part.written_as(scheme) for name, part in parts.items()}
    tags = sorted({tag for part in parts.values() for one in part.tags for tag in one})
    unknown = [tag for tag in tags if tag not in classes]
    if unknown:
        raise DataError(
            f"{source_name(source)} has tags that the model does not know: {', '.join(unknown[:10])}",
            expected=f"the model's: {', '.join(classes)}",
            got=", ".join(tags[:50]) + (", ..." if len(tags) > 50 else ""),
            do="give data with the model's tags, or name their column with the setting label=...",
            shell="give data with the model's tags",
        )
    vocabulary = FeatureVocabulary(sizes.vocabulary or ())
    encoded = {name: _encoded(part, vocabulary, classes) for name, part in parts.items()}
    batches = {name: measured_batches(*pair, symbols=True) for name, pair in encoded.items()}
    return Data(batches, sizes, measured=tuple(batches))


def _said(found: str, scheme: str) -> str:
    if scheme == "none":
        return "" if found == "none" else "tags are taken as they are, and no entities are counted"
    return f"tags mark entities: {found}" + (f", learned and answered as {scheme}" if scheme != found else "")
