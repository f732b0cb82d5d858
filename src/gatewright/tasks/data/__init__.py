"""Data by name or by path, and the batches that a network is trained on. Nothing here needs torch."""

from gatewright.tasks.data.adding import addition_arrays, as_bits, from_bits, random_pairs
from gatewright.tasks.data.batches import Batch, BatchState, RandomWindows, SequentialBatches, TokenBatches
from gatewright.tasks.data.data_set import DataFile, DataSet
from gatewright.tasks.data.digits import DigitSplits, Examples, load_digits
from gatewright.tasks.data.locate import cache_folder, locate
from gatewright.tasks.data.registry import DATA_SETS, data_set
from gatewright.tasks.data.text import CLEANINGS, Splits, clean, read_text, split
from gatewright.tasks.data.vocabulary import UNKNOWN, CharVocabulary

__all__ = [
    "CLEANINGS",
    "DATA_SETS",
    "UNKNOWN",
    "Batch",
    "BatchState",
    "CharVocabulary",
    "DataFile",
    "DataSet",
    "DigitSplits",
    "Examples",
    "RandomWindows",
    "SequentialBatches",
    "Splits",
    "TokenBatches",
    "addition_arrays",
    "as_bits",
    "cache_folder",
    "clean",
    "data_set",
    "from_bits",
    "load_digits",
    "locate",
    "random_pairs",
    "read_text",
    "split",
]
