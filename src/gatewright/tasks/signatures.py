"""What the signatures of model files hold, as far as answers depend on it, and whether a file's signature does.

A file may come from anywhere, so that this is checked before anything reads it. A signature holds more for strangers.
"""

from typing import TYPE_CHECKING, Annotated, Literal, NotRequired, TypedDict

from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.data.tags.tokens import TOKENISINGS
from gatewright.tasks.data.texts.vocabulary import TOKENISERS
from gatewright.untrusted.kinds import Count, Finite, Misfit, Positive, Rule

if TYPE_CHECKING:
    from gatewright.tasks.run_data import Sizes

# What has to be done to numbers before the network, and to what it gives.
RAW_INPUTS = "as they are: the network scales them by itself"
SOFTMAX = "the softmax of the outputs"

_Size = Annotated[int, Rule("from 1 to 65,536", lambda size: 1 <= size <= 1 << 16)]


class VariableScale(TypedDict):
    """The numbers of a variable in the training part."""

    mean: Finite
    deviation: Finite
    least: Finite
    greatest: Finite


def plain_scaling(scaling: Scaling) -> dict[str, list[float]]:
    """The mean and the deviation of each variable, ready for JSON."""
    return {"mean": scaling.mean.tolist(), "deviation": scaling.deviation.tolist()}


class Signature(TypedDict):
    """What every signature may hold."""

    variables: NotRequired[dict[str, VariableScale]]


class PictureSignature(Signature):
    """Of images; `border` is the mean brightness of their edges."""

    rows: NotRequired[_Size]
    columns: NotRequired[_Size]
    border: NotRequired[Finite]


class WordSignature(Signature):
    """Of a language model of words."""

    tokenise: NotRequired[Annotated[str, Rule(f"of {', '.join(TOKENISERS)}", TOKENISERS.__contains__)]]
    read: NotRequired[Literal["stream", "sentences"]]
    sentences: NotRequired[str]
    end_of_line: NotRequired[str | None]


class MusicSignature(Signature):
    """Of a model of music."""

    frames_per_beat: NotRequired[_Size]


class TextSignature(Signature):
    """Of a classifier of texts; `columns` are names by role."""

    columns: NotRequired[dict[str, str]]


class SequenceColumns(TypedDict):
    """What the channels and the targets of labelled series are called."""

    channels: list[str]
    targets: list[str]


class SeriesLengths(TypedDict):
    """The steps of the series that were trained on."""

    shortest: Count
    longest: Count


class SequenceSignature(Signature):
    """Of labelled series; empty in a file of an earlier version."""

    columns: NotRequired[SequenceColumns]
    key: NotRequired[str]
    lengths: NotRequired[SeriesLengths]


class SoundFeatures(TypedDict):
    """The settings of log-mel features: samples, hertz."""

    sample_rate: Count
    window: _Size
    hop: _Size
    bands: _Size
    lowest: Finite
    highest: Finite
    floor: Positive


class SoundDurations(TypedDict):
    """How long the sounds were that were trained on."""

    median: Positive
    longest: Positive


class SoundSignature(Signature):
    """Of sounds."""

    features: SoundFeatures
    seconds: SoundDurations


class TokenSignature(Signature):
    """Of a tagger of tokens."""

    tokenise: Annotated[str, Rule(f"of {', '.join(TOKENISINGS)}", TOKENISINGS.__contains__)]
    scheme: Literal["none", "BIO", "BIOES"]


class WindowSignature(TypedDict):
    """How many steps a tagger of channels reads at once."""

    steps: Annotated[int, Rule("from 2 on", lambda steps: steps >= 2)]


class ChannelSignature(Signature):
    """Of a tagger of channels."""

    window: WindowSignature


def not_alike(place: str, got: int, expected: int) -> Misfit | None:
    """The misfit of a number that should be another."""
    return None if got == expected else (f"{place}: {expected}", got)


def no_classes(sizes: "Sizes") -> Misfit | None:
    """The misfit of a classifier without names of classes."""
    return None if sizes.classes else (f"classes: {sizes.outputs} names", None)
