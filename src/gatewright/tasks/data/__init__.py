"""Data by name or by path, and the batches that a network is trained on. Nothing here needs torch."""

from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.batches.sequential import Batch, SequentialBatches
from gatewright.tasks.data.batches.streams import RaggedStreams
from gatewright.tasks.data.forecasting.seasons import best_season, steps_back
from gatewright.tasks.data.forecasting.series import Series, SeriesCollection, load_series
from gatewright.tasks.data.forecasting.windows import (
    Cuts,
    ForecastBatches,
    Scaling,
    Span,
    WindowBatches,
)
from gatewright.tasks.data.images.digits import load_digits
from gatewright.tasks.data.images.labelled import ImageBatches, LabelledImages, load_images
from gatewright.tasks.data.music.files import check_lengths, has_parts, load_music, load_pieces
from gatewright.tasks.data.music.midi import KEYS, midi_bytes, read_midi
from gatewright.tasks.data.music.notes import frames_of_notes, key_names, notes_of_frames
from gatewright.tasks.data.music.piano_rolls import load_piano_rolls
from gatewright.tasks.data.published.locate import locate
from gatewright.tasks.data.published.sources import IN_MEMORY, source_name
from gatewright.tasks.data.ragged import LabelledSequences, Parts, Ragged, held_out
from gatewright.tasks.data.series.labelled import load_labelled_series
from gatewright.tasks.data.sounds.log_mel import LogMel
from gatewright.tasks.data.synthetic.adding import addition_arrays, as_bits, from_bits, random_pairs
from gatewright.tasks.data.synthetic.long_lags import COPY_SYMBOLS, copy_arrays, marked_sums
from gatewright.tasks.data.texts.labelled import count_words, encode_texts, load_labelled_texts, load_texts_to_measure
from gatewright.tasks.data.texts.text import clean, read_text, split
from gatewright.tasks.data.texts.vocabulary import UNKNOWN, CharVocabulary
from gatewright.tasks.data.texts.word_texts import SentenceText, WordText, load_sentences, load_words, split_sentences
from gatewright.tasks.data.texts.words import END, END_OF_LINE, START, TOKENISERS, WordVocabulary, token_rule, tokeniser

__all__ = [
    "COPY_SYMBOLS",
    "END",
    "END_OF_LINE",
    "IN_MEMORY",
    "KEYS",
    "START",
    "TOKENISERS",
    "UNKNOWN",
    "Batch",
    "CharVocabulary",
    "Cuts",
    "ForecastBatches",
    "ImageBatches",
    "LabelledImages",
    "LabelledSequences",
    "LogMel",
    "Parts",
    "Ragged",
    "RaggedBatches",
    "RaggedStreams",
    "Scaling",
    "SentenceText",
    "SequentialBatches",
    "Series",
    "SeriesCollection",
    "Span",
    "WindowBatches",
    "WordText",
    "WordVocabulary",
    "addition_arrays",
    "as_bits",
    "best_season",
    "check_lengths",
    "clean",
    "copy_arrays",
    "count_words",
    "encode_texts",
    "frames_of_notes",
    "from_bits",
    "has_parts",
    "held_out",
    "key_names",
    "load_digits",
    "load_images",
    "load_labelled_series",
    "load_labelled_texts",
    "load_music",
    "load_piano_rolls",
    "load_pieces",
    "load_sentences",
    "load_series",
    "load_texts_to_measure",
    "load_words",
    "locate",
    "marked_sums",
    "midi_bytes",
    "notes_of_frames",
    "random_pairs",
    "read_midi",
    "read_text",
    "source_name",
    "split",
    "split_sentences",
    "steps_back",
    "token_rule",
    "tokeniser",
]
