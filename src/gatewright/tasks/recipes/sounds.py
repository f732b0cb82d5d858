"""Sounds in classes: spoken words, animals, machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.predictor import Examples
from gatewright.tasks.classifier import Classifier
from gatewright.tasks.columns import SoundColumns
from gatewright.tasks.data.batches.buckets import MeasuredExamples
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.data.sounds.batches import SoundBatches, SoundVariation
from gatewright.tasks.data.sounds.labelled import class_names, features_of, labelled, sounds_in_parts
from gatewright.tasks.data.sounds.log_mel import LogMel, seconds_to_samples
from gatewright.tasks.data.sounds.sources import FORMS, SoundSource, sound_source
from gatewright.tasks.recipe import BidirectionalRecipe, Expected
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.sequences.baselines import reached_by_levels
from gatewright.tasks.settings import setting
from gatewright.tasks.signatures import RAW_INPUTS, SOFTMAX, SoundSignature, no_classes, not_alike, plain_scaling
from gatewright.tasks.sounds.predictor import SoundPredictor
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit


@dataclass(frozen=True)
class Sounds(SoundColumns, BidirectionalRecipe, Classifier):
    """A recurrent network reads log-mel features; each band is standardised by the training part.

    Training sounds are augmented at random each time: speed, pitch, level, noise, silence around them, masks.
    """

    name = "sounds"
    about = "classify sounds: spoken words, animals, machines; from files, folders and streams"
    encode = "standardised"
    pool_setting = "read"
    predictor_class = SoundPredictor
    signature_type = SoundSignature
    data_forms = (
        "a folder with a folder of .wav or .flac files for each class (in train, validation and test, or with "
        "validation_list.txt and testing_list.txt, or held out), or a table with a file and its label in each row; in "
        "Python also ((arrays, rate), labels). For `predict` a file, a folder or - for a stream"
    )
    data_example = "sounds/yes/first.wav\nsounds/yes/second.flac\nsounds/no/third.wav"
    expected = {"": Expected("test", "accuracy", at_least=0.98, seconds=120)}
    presets = {
        "device": "directions=forward layers=1 hidden=48 window=0.032 hop=0.02 bands=24",
    }
    quick = "epochs=20 hidden=16 layers=1 batch=8"
    search = "rate=log:1e-3..1e-2 hidden=48,96,160 dropout=0..0.6 augment=0.5..2"

    hidden: int = 96
    layers: int = 2
    dropout: float = 0.3
    batch: int = 32
    epochs: int = 30
    optimiser: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = "adamw"
    weight_decay: float = 0.01
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one-cycle", "decay"] = "one-cycle"
    clip: float = 1.0
    sample_rate: int = setting(0, "samples a second that are read; 0: as most files have, 16,000 at most", least=0)
    window: float = setting(0.03, "seconds in a frame", least=0.001, below=1)
    hop: float = setting(0.015, "seconds from one frame to the next", least=0.0005, below=1)
    bands: int = setting(40, "bands of frequencies", least=1)
    lowest_hz: float = setting(60.0, "where the lowest band begins", least=0)
    highest_hz: float = setting(0.0, "where the highest band ends; 0: half the sample rate", least=0)
    longest: float = setting(10.0, "seconds to read of a sound to train on", least=0.01)
    read: Literal["last", "mean", "max"] = setting("mean", "what of the states says the class")
    augment: float = setting(1.0, "random changes of sounds to train on; 0 changes nothing", least=0)
    held_out: float = setting(
        0.1, "share to validate and to test with, where those are missing", least=0.001, below=0.4
    )

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """The features of sounds."""
        if wrong := super().misfit(signature, sizes):
            return wrong
        features = signature["features"]
        if not 0 <= features["lowest"] < features["highest"] <= features["sample_rate"] / 2:
            return "features: 0 <= lowest < highest <= sample_rate / 2", features
        return not_alike("features.bands", features["bands"], sizes.inputs) or no_classes(sizes)

    def log_mel(self) -> LogMel:
        """The features, once the sample rate is known.

        Raises OptionError for bands that no frequency lies in, or that lie beyond half the sample rate.
        """
        rate, highest = self.sample_rate, self.highest_hz or self.sample_rate / 2
        if not self.lowest_hz < highest <= rate / 2:
            raise OptionError(
                "bands lie where there is no sound",
                expected=f"lowest_hz < highest_hz <= {rate / 2:g}, half the sample rate",
                got=f"{self.lowest_hz:g} to {highest:g}",
            )
        window, hop = (seconds_to_samples(seconds, rate) for seconds in (self.window, self.hop))
        log_mel = LogMel(rate, window, hop, self.bands, self.lowest_hz, highest)
        if log_mel.empty_bands:
            raise OptionError(
                f"{log_mel.empty_bands} of {self.bands} bands are so narrow that no frequency lies in them",
                do="take fewer bands or a longer window",
                shell="take fewer bands or a longer window, with --set bands=... or --set window=...",
            )
        return log_mel

    def data(self, source: object) -> Data:
        """The sounds in parts; what a source lacks of them is held out, by seed, and by group where `id` names one."""
        if source is None:
            raise DataError(
                "recipe 'sounds' has no data of its own",
                expected=FORMS,
                do="give your sounds as data",
                shell="give your sounds with --data",
            )
        sounds = sound_source(source, self)
        divided = sounds_in_parts(sounds, validation=self.held_out, test=self.held_out, seed=self.seed)
        rate, classes = self.sample_rate or divided.train.usual_rate(), class_names(sounds)
        log_mel = self.restored({**self.settings(), "sample_rate": rate}).log_mel()
        train, seconds, cut = labelled(divided.train, log_mel, classes, longest=self.longest)
        scaling = Scaling.of(train.sequences.compact().values)
        measured = {name: labelled(getattr(divided, name), log_mel, classes)[0] for name in ("validation", "test")}
        variation = SoundVariation(self.augment, log_mel)
        batches = SoundBatches(train, self.batch, seed=self.seed, scaling=scaling, variation=variation)
        remarks = [f"{len(sounds):,} sounds of {len(classes)} classes at {log_mel.sample_rate:,} Hz"]
        if cut:
            remarks.append(
                f"{cut} sounds to train on are longer than {self.longest:g} seconds and were cut (longest=...)"
            )
        return Data(
            {"train": batches, **{name: MeasuredExamples(part) for name, part in measured.items()}},
            Sizes(log_mel.bands, len(classes), classes=classes, variables=band_names(log_mel)),
            measured=tuple(measured),
            origin={"sounds": source_name(source), "classes": train.counts()},
            scaling=scaling,
            fitted={} if self.sample_rate else {"sample_rate": log_mel.sample_rate},
            remarks=(*filter(None, sounds.remarks), *remarks),
            signature={
                "features": log_mel.signature(),
                "inputs": RAW_INPUTS,
                "scaling": plain_scaling(scaling),
                "seconds": {"median": float(np.median(seconds)), "longest": float(seconds.max())},
                "probabilities": SOFTMAX,
            },
        )

    def fitted_remark(self, fitted: Mapping[str, Any]) -> str:
        """Nothing more: the remark on the data names the sample rate."""
        return ""

    def examples(self, source: object, model: TrainedModel) -> Examples:
        """Every sound of a file, a folder, a table or of arrays, at the model's sample rate."""
        sounds = sound_source(source, self, labelled=False)
        features = features_of(sounds, LogMel.of_signature(model.signature["features"]))[0]
        return Examples(features, {sounds.key: sounds.keys})

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """What the model was trained for; of other data every sound, in a part "test" where it has no parts."""
        if source is None:
            return super().evaluation(None, model)
        sounds = sound_source(source, self)
        log_mel, classes = LogMel.of_signature(model.signature["features"]), model.sizes.classes or ()
        parts = np.array(sounds.parts or ["test"] * len(sounds))
        named = [name for name in ("train", "validation", "test") if name in parts]
        sets: dict[str, SoundSource] = {name: sounds.select(np.flatnonzero(parts == name).tolist()) for name in named}
        batches = {name: MeasuredExamples(labelled(part, log_mel, classes)[0]) for name, part in sets.items()}
        return Data(batches, model.sizes, measured=tuple(batches))

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """A logistic regression on the mean level of each band."""
        return reached_by_levels(data)


def band_names(log_mel: LogMel) -> tuple[str, ...]:
    """The frequency at the top of each band, as in `1000 Hz`; more figures where two are alike."""
    tops = log_mel.edges[1:-1]
    figures = next(places for places in range(12) if len({f"{top:.{places}f}" for top in tops}) == len(tops))
    return tuple(f"{top:.{figures}f} Hz" for top in tops)
