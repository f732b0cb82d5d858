"""Small data of one's own for recipes that read files, in the format of the published set."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tests.tasks.data.formats import cells, idx, mat, put
from tests.tasks.small import WORDS

CLASSES = "high", "low"  # in the order of their letters


def small_images(folder: Path) -> str:
    """40 images to train on and 10 to test with, of 6 x 5 pixels; a bright row tells the class."""
    for part, count in (("train", 40), ("t10k", 10)):
        labels = np.arange(count) % 5
        pixels = np.zeros((count, 6, 5), np.uint8)
        pixels[np.arange(count), labels] = 255
        put(folder / f"{part}-images-idx3-ubyte", idx(pixels))
        put(folder / f"{part}-labels-idx1-ubyte", idx(labels))
    return str(folder)


def small_series(folder: Path) -> str:
    """A folder of CSV files for each of two classes, 20 series of 2 channels and 3 to 7 steps; their level differs."""
    random = np.random.default_rng(0)
    for level, name in enumerate(reversed(CLASSES)):
        (folder / name).mkdir(parents=True)
        for place in range(20):
            values = random.normal(1000 * level, 100, (3 + place % 5, 2))
            lines = ["a,b", *(f"{first:.3f},{second:.3f}" for first, second in values)]
            (folder / name / f"{place:02}.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


def small_music(folder: Path) -> str:
    """Scales that go up from a key, or down: 8 pieces to train on and 4 for each other part, of 5 to 12 frames."""
    pieces = [np.eye(5 + place, 88, 20 + place, dtype=np.uint8)[:: 1 if place % 2 else -1] for place in range(8)]
    parts = {"traindata": pieces, "validdata": pieces[:4], "testdata": pieces[4:]}
    return str(put(folder / "scales.mat", mat(*(cells(name, found) for name, found in parts.items()))))


def small_reviews(folder: Path) -> str:
    """80 texts of two classes, one a line."""
    lines = (f"text number {place},{place % 2}\n" for place in range(80))
    return str(put(folder / "data.csv", "".join(lines).encode()))


def small_table(folder: Path) -> str:
    """150 numbers with a season of 12 that grow."""
    lines = (f"{place % 12 + place / 50}\n" for place in range(150))
    return str(put(folder / "data.csv", ("value\n" + "".join(lines)).encode()))


def small_words(folder: Path) -> str:
    """A few words, again and again."""
    return str(put(folder / "data.txt", (WORDS * 60).encode()))


def small_tags(folder: Path) -> str:
    """60 sentences of names and places with tags of entities, in two columns."""
    places = ("Oslo B-LOC", "New B-LOC\nYork I-LOC", "Rome B-LOC")
    names = ("Ada B-PER", "Kurt B-PER\nGödel I-PER")
    sentences = (f"{names[place % 2]}\nsaw O\n{places[place % 3]}\n. O\n" for place in range(60))
    return str(put(folder / "tags.conll", "\n".join(sentences).encode()))


def small_sounds(folder: Path) -> str:
    """A folder of WAV files for each of two classes, 20 tones of 0.1 to 0.2 seconds in noise; their pitch differs."""
    import soundfile

    random = np.random.default_rng(0)
    for pitch, name in ((1500, CLASSES[0]), (400, CLASSES[1])):
        (folder / name).mkdir(parents=True)
        for place in range(20):
            time = np.arange(800 + 40 * place) / 8000
            tone = 0.3 * np.sin(2 * np.pi * pitch * random.uniform(0.9, 1.1) * time) + random.normal(0, 0.02, len(time))
            soundfile.write(folder / name / f"{place:02}.wav", tone, 8000)
    return str(folder)


OWN_DATA: Mapping[str, Callable[[Path], str]] = {
    "images": small_images,
    "music": small_music,
    "texts": small_reviews,
    "sequences": small_series,
    "series": small_table,
    "sounds": small_sounds,
    "speakers": small_series,
    "tagging": small_tags,
    "words": small_words,
}
