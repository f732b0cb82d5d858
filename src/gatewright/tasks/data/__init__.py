"""Data by name or by path, and the batches that a network is trained on. Nothing here needs torch.

The names below are loaded when they are first asked for; the package itself imports them from their modules.
"""

from importlib import import_module
from typing import Any

_NAMES_OF_MODULES = {
    "batches.buckets": "RaggedBatches",
    "batches.sequential": "Batch RaggedStreams SequentialBatches",
    "forecasting.seasons": "best_season steps_back",
    "forecasting.series": "SeriesCollection TimeSeries load_series",
    "forecasting.windows": "Cuts ForecastBatches Span WindowBatches",
    "images.digits": "load_digits",
    "images.labelled": "ImageBatches LabelledImages load_images",
    "music.files": "check_lengths has_parts load_music load_pieces",
    "music.midi": "KEYS frames_of_notes key_names midi_bytes notes_of_frames read_midi",
    "music.piano_rolls": "load_piano_rolls",
    "published.locate": "locate",
    "published.sources": "IN_MEMORY source_name",
    "ragged": "LabelledSequences Ragged Splits held_out",
    "scaling": "Scaling",
    "sequences.labelled": "load_labelled_series",
    "sounds.log_mel": "LogMel",
    "synthetic": "COPY_SYMBOLS addition_arrays as_bits copy_arrays from_bits marked_sums random_pairs",
    "texts.labelled": "count_words encode_texts load_labelled_texts load_texts_to_measure",
    "texts.text": "clean read_text split",
    "texts.vocabulary": "CharVocabulary END END_OF_LINE START TOKENISERS UNKNOWN WordVocabulary token_rule tokeniser",
    "texts.word_texts": "SentenceText WordText load_sentences load_words split_sentences",
}
_RENAMED = {"Parts": "Splits", "Series": "TimeSeries"}  # names of earlier versions
_MODULES = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A name of one of the modules."""
    name = _RENAMED.get(name, name)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """What `dir` and completion show."""
    return sorted((*globals(), *_MODULES))
