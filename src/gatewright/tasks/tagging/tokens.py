"""Data of the recipe `tagging` from sentences: numbers for the network, and the signature of the model file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.classifier import check_known_labels, check_two_labels
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.digest import digest
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.ragged import Ragged, Splits
from gatewright.tasks.data.tags.schemes import Scheme, Transitions, mark_entities
from gatewright.tasks.data.tags.sentences import TagColumns, TaggedSentences
from gatewright.tasks.data.tags.token_features import FEATURES, RULES, FeatureVocabulary, lowered
from gatewright.tasks.data.tags.tokens import tokenising
from gatewright.tasks.data.texts.word_vectors import WordVectors, read_lower_vectors
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.tagging.objective import Tags
from gatewright.tasks.tagging.settings import TaggingSettings

_MEASURED_ROWS = 100
_LEARNED: Mapping[str, Scheme] = {"IOB1": "BIO", "BILOU": "BIOES", "BMES": "BIOES"}


@dataclass(frozen=True)
class TokenData(Data):
    """Sentences as batches, and the vectors that the embedding begins with."""

    vectors: WordVectors | None = field(kw_only=True)


def token_data(recipe: TaggingSettings, source: object, parts: Splits[TaggedSentences], columns: TagColumns) -> Data:
    """The parts of sentences as batches, with all settings that the data decides."""
    written, scheme = parts.train.scheme, _scheme(recipe, source, parts.train)
    parts = Splits(*(part.written_as(scheme) for part in parts))
    best_by, of_entities = _best_by(recipe, parts, scheme)
    vocabulary, vectors, vectors_remark = _vocabulary(recipe, parts.train)
    classes = tuple(sorted({tag for part in parts for tags in part.tags for tag in tags}))
    check_two_labels(source_name(source), "token", classes)
    batches = _batches(recipe, parts, vocabulary, classes, scheme)
    divided, ruled = tokenising(parts.train.tokens), recipe.output == "softmax" and scheme != "none"
    decided = {
        "inputs": "tokens",
        "scheme": scheme,
        "best_by": best_by,
        "text": columns.text,
        "label": columns.label,
        "epochs": recipe.enough_epochs(len(batches["train"].inputs)),
        "embedding": vectors.dimension if vectors else recipe.embedding,
    }
    remarks = (
        columns.remark,
        _scheme_remark(written, scheme),
        *of_entities,
        _untrained(parts),
        vectors_remark,
        f"plain text is divided: {divided.about}",
    )
    return TokenData(
        batches,
        Sizes(len(vocabulary), len(classes), vocabulary.symbols, classes),
        origin={
            "tagged": source_name(source),
            "tags": parts.train.counts(),
            "sentences": len(parts.train),
            "sha256": digest([[part.tokens, part.tags] for part in parts]),
        },
        fitted=recipe.differing(decided),
        remarks=tuple(filter(None, remarks)),
        signature={
            "columns": {"text": columns.text, "label": columns.label},
            "tokenise": divided.name,
            "tokens": {"columns": list(FEATURES), **RULES},
            "scheme": scheme,
            "output": recipe.output,
            # The transitions of a random field are among its weights.
            **({"transitions": Transitions.of(classes, scheme).kept()} if ruled else {}),
        },
        vectors=vectors,
    )


def _scheme(recipe: TaggingSettings, source: object, train: TaggedSentences) -> Scheme:
    """The tagging scheme: the setting, or BIO or BIOES according to the data."""
    scheme = _LEARNED.get(train.scheme, train.scheme) if recipe.scheme == "infer" else recipe.scheme
    if train.scheme == "none" != scheme:
        raise DataError(
            f"the labels of {source_name(source)} mark no entities, and scheme={scheme} is for those that do",
            expected="O, and labels that begin with a letter of BIO, BIOES, BILOU or BMES, such as B-PER",
            got=", ".join(list(train.counts())[:10]),
            do="leave scheme out, or name the column of the labels: label='COLUMN'",
            shell="leave scheme out, or name the column of the labels: --set label=COLUMN",
        )
    return scheme


def _batches(
    recipe: TaggingSettings,
    parts: Splits[TaggedSentences],
    vocabulary: FeatureVocabulary,
    classes: Sequence[str],
    scheme: Scheme,
) -> dict[str, RaggedBatches]:
    read = {name: _encoded(part, vocabulary, classes) for name, part in parts._asdict().items()}
    tokens, tags = read["train"]
    inside = {"none": (), "BIO": ("I",)}.get(scheme, ("I", "E"))  # tags that continue the entity of the token before
    continues = np.array([tag.startswith(inside) for tags in parts.train.tags for tag in tags], np.bool_)
    starts, lengths = windows_of(tokens, recipe.window, continues)
    cut = Ragged(tokens.values, starts, lengths), Ragged(tags.values, starts, lengths)
    train = RaggedBatches(*cut, recipe.batch, seed=recipe.seed, target_fill=Tags.padding, symbols=True)
    return {"train": train, **{part: measured_batches(*read[part], symbols=True) for part in ("validation", "test")}}


def _vocabulary(recipe: TaggingSettings, train: TaggedSentences) -> tuple[FeatureVocabulary, WordVectors | None, str]:
    """The known symbols, the vectors of those that a file of vectors has in lower case, and a remark on the vectors."""
    if not recipe.vectors:
        return FeatureVocabulary.from_sentences(train.tokens, least=recipe.least), None, ""
    words = {lowered(token) for tokens in train.tokens for token in tokens}
    known = read_lower_vectors(Path(recipe.vectors).expanduser(), words, also=recipe.vector_words)
    if not words & known.keys():
        raise DataError(
            f"{recipe.vectors} has a vector for none of the {len(words):,} words of the training part",
            expected="words such as " + ", ".join(sorted(words)[:5]),
            do="give vectors of the language of the sentences",
        )
    vocabulary = FeatureVocabulary.from_sentences(train.tokens, least=recipe.least, words=known)
    vectors = WordVectors(vocabulary.numbers_of_lower(known), np.stack([*known.values()]))
    begun = {vocabulary.symbols[number].partition("=")[2] for number in vectors.numbers}
    of_training = len(words & begun)
    remark = (
        f"vectors: {recipe.vectors}, {vectors.dimension} numbers each, for {of_training:,} of {len(words):,} words "
        f"of the training part and {len(begun) - of_training:,} others"
    )
    return vocabulary, vectors, remark


def _best_by(recipe: TaggingSettings, parts: Splits[TaggedSentences], scheme: Scheme) -> tuple[str, list[str]]:
    """The measure that chooses the best network, and a remark for each part with an undefined F1.

    Raises DataError where F1 is asked for and undefined.
    """
    lacking = [name for name in ("validation", "test") if scheme != "none" and not getattr(parts, name).has_entities()]
    remarks = [f"the {name} part has no entities, so that its recall and F1 are undefined" for name in lacking]
    is_defined = scheme != "none" and "validation" not in lacking
    if recipe.best_by == "f1" and not is_defined:
        raise DataError(
            "the best network cannot be chosen by F1, which is undefined",
            expected="labels that mark entities, as B-PER, I-PER and O do, and some in the validation part",
            got="no entity in the validation part" if lacking else "labels that mark none",
            do="choose it by accuracy: best_by='accuracy'",
            shell="choose it by accuracy: --set best_by=accuracy",
        )
    if "validation" in lacking and recipe.best_by == "infer":
        remarks.append("the best network is chosen by accuracy")
    return recipe.best_by if recipe.best_by != "infer" else "f1" if is_defined else "accuracy", remarks


def _untrained(parts: Splits[TaggedSentences]) -> str:
    """A remark on tags that the network cannot learn."""
    known = set(parts.train.counts())
    strange = sorted({tag for part in (parts.validation, parts.test) for tag in part.counts()} - known)
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    return f"not in the training part, so not learned: {', '.join(strange[:5])}{more}" if strange else ""


def windows_of(
    sequences: Ragged, window: int, continues: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths of pieces of about that many steps, of each sequence about equally long.

    No piece begins with a step where `continues` is True.
    """
    counts = -(-sequences.lengths // window)
    whole = np.repeat(np.arange(len(sequences)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = sequences.starts[whole] + place * sequences.lengths[whole] // counts[whole]
    begin = np.maximum.accumulate(np.where(continues, 0, np.arange(len(continues))))[begin]
    last = np.append(whole[1:] != whole[:-1], True)
    end = np.where(last, (sequences.starts + sequences.lengths)[whole], np.append(begin[1:], 0))
    kept = end > begin  # a piece in the middle of a long entity has nothing left
    return begin[kept], (end - begin)[kept]


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
    """Batches of whole sequences of about equal length, in a fixed order."""
    return RaggedBatches(steps, tags, _MEASURED_ROWS, target_fill=Tags.padding, symbols=symbols)


def token_evaluation(
    source: object, parts: Mapping[str, TaggedSentences], classes: Sequence[str], sizes: Sizes, scheme: Any
) -> Data:
    """Other sentences, in what the model knows. Raises DataError for tags that it does not know."""
    # A small part may show no scheme; its entities are read as those of the training were.
    read = {
        name: replace(part, scheme=scheme) if mark_entities(tag for tags in part.tags for tag in tags) else part
        for name, part in parts.items()
    }
    parts = {name: part.written_as(scheme) for name, part in read.items()}
    check_known_labels(
        source_name(source), (tag for part in parts.values() for tags in part.tags for tag in tags), classes
    )
    vocabulary = FeatureVocabulary(sizes.vocabulary or ())
    encoded = {name: _encoded(part, vocabulary, classes) for name, part in parts.items()}
    batches = {name: measured_batches(*pair, symbols=True) for name, pair in encoded.items()}
    return Data(batches, sizes, measured=tuple(batches))


def _scheme_remark(written: str, scheme: str) -> str:
    if scheme == "none":
        return "" if written == "none" else "tags are taken as they are, and no entities are counted"
    return f"tags mark entities: {written}" + (f", learned and answered as {scheme}" if scheme != written else "")
