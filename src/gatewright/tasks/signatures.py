"""What the signatures of model files hold, as far as answers depend on it, and whether a file's signature does.

A file may come from anywhere, so that this is checked before anything reads it. A signature holds more for strangers.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np

from gatewright.tasks.data.tables.time_axis import TimeAxis
from gatewright.tasks.data.tags.tokens import TOKENISINGS
from gatewright.tasks.data.texts.words import TOKENISERS
from gatewright.untrusted.kinds import Count, Finite, Misfit, Positive, Rule, misfit_of

if TYPE_CHECKING:
    from gatewright.tasks.recipe import Sizes

# What has to be done to numbers before the network, and to what it gives.
RAW_INPUTS = "as they are: the network scales them by itself"
SOFTMAX = "the softmax of the outputs"

_Size = Annotated[int, Rule("from 1 to 65,536", lambda size: 1 <= size <= 1 << 16)]


class Scale(TypedDict):
    """The numbers of a variable in the training part."""

    mean: Finite
    deviation: Finite
    least: Finite
    greatest: Finite


class Signature(TypedDict):
    """What every signature may hold."""

    variables: NotRequired[dict[str, Scale]]


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


class Lengths(TypedDict):
    """The steps of the series that were trained on."""

    shortest: Count
    longest: Count


class SequenceSignature(Signature):
    """Of labelled series; empty in a file of an earlier version."""

    columns: NotRequired[SequenceColumns]
    key: NotRequired[str]
    lengths: NotRequired[Lengths]


class SoundFeatures(TypedDict):
    """The settings of log-mel features: samples, hertz."""

    sample_rate: Count
    window: _Size
    hop: _Size
    bands: _Size
    lowest: Finite
    highest: Finite
    floor: Positive


class Seconds(TypedDict):
    """How long the sounds were that were trained on."""

    median: Positive
    longest: Positive


class SoundSignature(Signature):
    """Of sounds."""

    features: SoundFeatures
    seconds: Seconds


class TokenSignature(Signature):
    """Of a tagger of tokens."""

    tokenise: Annotated[str, Rule(f"of {', '.join(TOKENISINGS)}", TOKENISINGS.__contains__)]
    scheme: Literal["none", "BIO", "BIOES"]


class Window(TypedDict):
    """How many steps a tagger of channels reads at once."""

    steps: Annotated[int, Rule("from 2 on", lambda steps: steps >= 2)]


class ChannelSignature(Signature):
    """Of a tagger of channels."""

    window: Window


class PlainScaling(TypedDict):
    """The mean and the deviation of each variable."""

    mean: list[Finite]
    deviation: list[Positive]


class ForecastColumns(TypedDict):
    """The columns of a series by role."""

    time: str | None
    target: list[str]
    covariates: list[str]
    id: str | None


class Times(TypedDict):
    """Of the times of steps all but the times."""

    column: str
    frequency: str | None
    form: str
    zone: str | None
    in_utc: NotRequired[bool]


RecentSeries = TypedDict(
    "RecentSeries",
    {
        "id": str,
        "scaling": PlainScaling,
        "recent": list[list[Finite]],  # (steps, variables)
        "recent times": list[str] | list[float] | None,
        "frequency": NotRequired[str | None],
        "recent offsets": NotRequired[list[int] | None],  # seconds before UTC
        "recent known": list[list[Finite]] | None,  # (steps and some of the horizon, known)
    },
)


ForecastSignature = TypedDict(
    "ForecastSignature",
    {
        "columns": ForecastColumns,
        "times": Times | None,
        "calendar": list[Literal["sin year", "cos year", "sin week", "cos week", "sin day", "cos day"]],
        "season": Count,
        "known scaling": PlainScaling | None,
        "variables": dict[str, Scale],
        "series": list[RecentSeries],
    },
)


def sound_misfit(signature: Any, sizes: "Sizes") -> Misfit | None:
    """Of a model of sounds."""
    if wrong := misfit_of(SoundSignature, signature):
        return wrong
    features = signature["features"]
    if not 0 <= features["lowest"] < features["highest"] <= features["sample_rate"] / 2:
        return "features: 0 <= lowest < highest <= sample_rate / 2", features
    return _not_alike("features.bands", features["bands"], sizes.inputs) or _no_classes(sizes)


def sequence_misfit(signature: Any, sizes: "Sizes") -> Misfit | None:
    """Of a model of labelled series."""
    wrong = misfit_of(SequenceSignature, signature)
    if wrong or sizes.classes or "columns" not in signature:
        return wrong
    return _not_alike("columns.targets", len(signature["columns"]["targets"]), sizes.outputs)


def token_misfit(signature: Any, sizes: "Sizes") -> Misfit | None:
    """Of a tagger of tokens."""
    wrong = misfit_of(TokenSignature, signature) or _no_classes(sizes)
    if wrong is None and signature["scheme"] != "none" and "" in (sizes.classes or ()):
        return "classes: tags with letters", list(sizes.classes or ())
    return wrong


def channel_misfit(signature: Any, sizes: "Sizes") -> Misfit | None:
    """Of a tagger of channels."""
    return misfit_of(ChannelSignature, signature) or _no_classes(sizes)


def forecast_misfit(signature: Any, sizes: "Sizes", history: int, horizon: int) -> Misfit | None:
    """Of a forecaster that reads those variables: names, scalings, and the last steps of each series."""
    if wrong := misfit_of(ForecastSignature, signature):
        return wrong
    columns, calendar = signature["columns"], signature["calendar"]
    names = (*columns["target"], *columns["covariates"], *calendar)
    if not columns["target"] or names != sizes.variables:
        return f"variables: {', '.join(names)[:80]}", sizes.variables
    if not signature["series"]:
        return "series: at least one", []
    known = len(names) - len(columns["target"])
    if (signature["known scaling"] is None) != (known == 0):
        return f"known scaling: that of {known} variables", signature["known scaling"]
    wrong = _wrong_scaling("known scaling", signature["known scaling"] or {"mean": [], "deviation": []}, known)
    for place, series in enumerate(signature["series"]):
        if len(series["recent"]) > history:
            return f"series[{place}].recent: at most {history} steps", series["recent"]
        wrong = wrong or _series_misfit(f"series[{place}]", series, len(columns["target"]), known, horizon)
        wrong = wrong or _times_misfit(f"series[{place}]", series, signature["times"])
    return wrong


def _series_misfit(place: str, series: Mapping[str, Any], targets: int, known: int, horizon: int) -> Misfit | None:
    recent, times, beside = series["recent"], series["recent times"], series["recent known"]
    offsets = series.get("recent offsets")
    rows = len(recent) if beside is None else min(max(len(beside), len(recent)), len(recent) + horizon)
    return (
        _wrong_scaling(f"{place}.scaling", series["scaling"], targets)
        or _wrong_table(f"{place}.recent", recent, max(1, len(recent)), targets)
        or (None if times is None else _not_alike(f"{place}.recent times", len(times), len(recent)))
        or (None if offsets is None else _not_alike(f"{place}.recent offsets", len(offsets), len(recent)))
        or (None if beside is None else _wrong_table(f"{place}.recent known", beside, rows, known))
    )


def _times_misfit(place: str, series: Mapping[str, Any], said: Mapping[str, Any] | None) -> Misfit | None:
    """Whether pandas can read the times, and go on from them."""
    from gatewright.tasks.forecasting.signature import times_from

    texts = series["recent times"]
    if (texts is None) != (said is None):
        return f"{place}.recent times: as many as steps where there is a column of times", texts
    try:
        times: TimeAxis | None = times_from({"times": said}, series)
        if times is not None:
            to_come = times.continued(1)
            to_come.spelled()
            to_come.for_pandas()
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        return f"times: times that go on, such as dates with the frequency D: {error}", said
    return None


def _wrong_scaling(place: str, scaling: Mapping[str, Sequence[float]], count: int) -> Misfit | None:
    lengths = {name: len(scaling[name]) for name in ("mean", "deviation")}
    wrong = next((name for name, length in lengths.items() if length != count), None)
    return None if wrong is None else (f"{place}.{wrong}: {count} numbers", scaling[wrong])


def _wrong_table(place: str, rows: Sequence[Sequence[float]], count: int, columns: int) -> Misfit | None:
    shape = (len(rows), *np.unique([len(row) for row in rows]).tolist())
    return None if shape == (count, columns) else (f"{place}: {count} rows of {columns} numbers", rows)


def _not_alike(place: str, got: int, expected: int) -> Misfit | None:
    return None if got == expected else (f"{place}: {expected}", got)


def _no_classes(sizes: "Sizes") -> Misfit | None:
    return None if sizes.classes else (f"classes: {sizes.outputs} names", None)


def picture_misfit(signature: Mapping[str, Any], inputs: int | None) -> Misfit | None:
    """What does not fit in the signature of a model of images; `inputs` is how many columns a network of rows reads."""
    wrong = misfit_of(PictureSignature, signature)
    columns = signature.get("columns", inputs)
    if wrong or inputs is None or columns == inputs:
        return wrong
    return f"columns: {inputs}", columns
