"""Which sounds a source names: a folder for each class, a table of files, or arrays; with labels and parts."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import SoundColumns
from gatewright.tasks.data.published.sources import IN_MEMORY, source_name
from gatewright.tasks.data.reading import check_plain
from gatewright.tasks.data.sounds.files import SUFFIXES, Sound, mono, read_sound, sound_rate
from gatewright.tasks.data.tables.files import is_frame
from gatewright.tasks.data.tables.header import LABEL_NAMES
from gatewright.tasks.data.tables.roles import ColumnRole, TableKind, all_columns, columns_where, infer_roles
from gatewright.tasks.data.tables.table import Table, open_table

FORMS = (
    "a folder with a folder of sound files for each class, or a table with the columns file and label (in Python also "
    "((arrays, rate), labels))"
)
_FILE_NAMES = ("file", "filename", "file_name", "path", "filepath", "file_path", "audio", "wav", "sound")
_PART_NAMES = ("part", "split", "set", "subset")
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_HIGHEST_RATE = 16_000  # that is chosen where no setting names another
_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}
_of_sound_files = columns_where(lambda texts: all(Path(text).suffix.lower() in SUFFIXES for text in texts[:100]))
_of_parts = columns_where(lambda texts: {text.lower() for text in texts} <= set(_PARTS))
_FILE = ColumnRole("file", _FILE_NAMES, fits=_of_sound_files, candidates=all_columns)
_LABEL = ColumnRole("label", LABEL_NAMES, candidates=all_columns)
_LABELLED = TableKind(
    (_FILE, ColumnRole("id"), ColumnRole("part", _PART_NAMES, fits=_of_parts), _LABEL), ("file", "label")
)
_UNLABELLED = TableKind((_FILE,), ("file",))
_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet", ".pq")


@dataclass(frozen=True, eq=False)
class SoundSource:
    """Sounds that are not read yet; labels, groups (such as speakers) and parts are texts, "" where none is known.

    `sounds` are paths, or sounds in memory; `keys` is what a person finds each by: its "file" or its "row".
    """

    name: str
    sounds: Sequence[Path | Sound]
    key: str
    keys: tuple[Any, ...]
    labels: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    parts: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sounds)

    def where(self, place: int) -> str:
        """How a message names that sound."""
        return f"{self.name}, {self.key} {self.keys[place]}"

    def sound(self, place: int) -> Sound:
        """That sound; a DataError where its file cannot be read."""
        chosen = self.sounds[place]
        return read_sound(chosen) if isinstance(chosen, Path) else chosen

    def select(self, places: Sequence[int]) -> Self:
        """Those sounds, in that order."""
        texts = {
            name: values and tuple(values[place] for place in places)
            for name, values in (("labels", self.labels), ("groups", self.groups), ("parts", self.parts))
        }
        keys = tuple(self.keys[place] for place in places)
        return replace(self, sounds=[self.sounds[place] for place in places], keys=keys, **texts)

    def usual_rate(self) -> int:
        """The sample rate that most sounds have, 16,000 at most; of two equally frequent ones the higher."""
        rates = Counter(sound_rate(sound) if isinstance(sound, Path) else sound.rate for sound in self.sounds)
        return min(max(rates, key=lambda rate: (rates[rate], rate)), _HIGHEST_RATE)


def sound_source(source: object, columns: SoundColumns, *, labelled: bool = True) -> SoundSource:
    """The sounds of a folder, a table, a file, or an object in memory; without labels where none are needed.

    In a folder, `train`, `validation` and `test` may hold the folders of the classes, and the files
    `validation_list.txt` and `testing_list.txt` may name those parts, as in Speech Commands. Folders whose names begin
    with "_" or "." are left out. Raises DataError where there are no sounds or labels.
    """
    if is_frame(source):
        return _of_table(open_table(source), Path(), columns, labelled=labelled)
    if not isinstance(source, str | os.PathLike):
        return _in_memory(source, labelled=labelled)
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{os.fspath(path)!r} is neither a file nor a folder", expected=FORMS)
    if path.is_file() and path.suffix.lower() in SUFFIXES and not labelled:
        return SoundSource(str(path), [path], "file", (str(path),))
    if path.is_file():
        return _of_table(_table(path, columns), path.parent, columns, labelled=labelled)
    if not path.is_dir():
        check_plain(path)
    return _of_folder(path, columns) if labelled else _all_in(path, columns)


def _table(path: Path, columns: SoundColumns) -> Table:
    if path.suffix.lower() in SUFFIXES:
        raise DataError(f"{path} is a sound without a label", expected=FORMS)
    if columns.header != "infer":
        return open_table(path, encoding=columns.encoding, header=columns.header)
    table = open_table(path, encoding=columns.encoding, header="yes")
    has_names = all(Path(name).suffix.lower() not in SUFFIXES for name in table.columns)
    return table if has_names else open_table(path, encoding=columns.encoding, header="no")


def _of_folder(path: Path, columns: SoundColumns) -> SoundSource:
    folders = _folders(path)
    in_parts = {_PARTS[folder.name.lower()]: folder for folder in folders if folder.name.lower() in _PARTS}
    if "train" in in_parts:
        triples = [
            (file, label, part) for part, folder in in_parts.items() for file, label in _classes(folder)
        ]  # a folder beside them is no class
    else:
        listed = _listed(path)
        triples = [
            (file, label, listed.get(file.relative_to(path).as_posix(), "train" if listed else ""))
            for file, label in _classes(path)
        ]
    tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in _TABLES and file.name not in _LISTS]
    if len({label for _, label, _ in triples}) < 2 and len(tables) == 1:  # a folder beside a table is of all its files
        return _of_table(_table(tables[0], columns), path, columns, labelled=True)
    if not triples:
        loose = sum(file.suffix.lower() in SUFFIXES for file in path.iterdir())
        raise DataError(
            f"{path} holds no labelled sounds",
            expected=FORMS,
            got=f"{loose} sound files without a folder of a class, {len(tables)} tables",
            do="put the files of each class in a folder, or write a table with the columns file and label",
        )
    files, labels, parts = zip(*triples, strict=True)
    left = [folder.name for folder in path.iterdir() if folder.is_dir() and folder.name.startswith("_")]
    remarks = (f"left out: {', '.join(sorted(left))}",) if left else ()
    keys = tuple(map(str, files))
    return SoundSource(str(path), files, "file", keys, labels, None, parts if any(parts) else None, remarks)


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and folder.name[0] not in "._")


def _classes(path: Path) -> list[tuple[Path, str]]:
    """Every sound in a folder of a class, or in a folder of that."""
    return [(file, folder.name) for folder in _folders(path) for file in _sounds_in(folder)]


def _sounds_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.name[0] != ".")


def _listed(path: Path) -> dict[str, str]:
    """The part of each file that is listed, by its path in the folder."""
    parts: dict[str, str] = {}
    for name, part in _LISTS.items():
        if (path / name).is_file():
            for number, line in enumerate((path / name).read_text("utf-8").splitlines(), 1):
                if line.strip() and not (path / line.strip()).is_file():
                    raise DataError(f"{path / name}, line {number}: there is no such file", got=line.strip()[:200])
                parts[line.strip()] = part
    return parts


def _all_in(path: Path, columns: SoundColumns) -> SoundSource:
    """Every sound in a folder and its folders; the files of its table where there are none."""
    files = _sounds_in(path)
    tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in _TABLES]
    if not files and len(tables) == 1:
        return _of_table(_table(tables[0], columns), path, columns, labelled=False)
    if not files:
        raise DataError(f"{path} holds no sound files", expected="files such as .wav or .flac")
    return SoundSource(str(path), files, "file", tuple(map(str, files)))


def _of_table(table: Table, folder: Path, columns: SoundColumns, *, labelled: bool) -> SoundSource:
    roles = infer_roles(table, columns, _LABELLED if labelled else _UNLABELLED)
    file, label = roles.file, roles.label
    files = [folder / text for text in table.texts(file)]
    absent = next((place for place, sound_file in enumerate(files) if not sound_file.is_file()), None)
    if absent is not None:
        raise DataError(
            f"{table.where(absent, file)}: there is no such file",
            expected=f"a path from the folder {folder} on",
            got=table.texts(file)[absent][:200] or "nothing",
        )
    keys = tuple(table.texts(file))
    if not labelled:
        return SoundSource(table.name, files, "file", keys)
    labels = table.texts(label)
    missing = next((place for place, text in enumerate(labels) if not text), None)
    if missing is not None:
        raise DataError(f"{table.where(missing, label)}: the label is missing", do="fill it in, or leave out the row")
    groups = tuple(table.texts(roles.id)) if roles.id else None
    parts = _parts(table, roles.part) if roles.part else None
    return SoundSource(table.name, files, "file", keys, tuple(labels), groups, parts, (roles.remark,))


def _parts(table: Table, column: str) -> tuple[str, ...]:
    texts = [text.lower() for text in table.texts(column)]
    unknown = next((place for place, text in enumerate(texts) if text not in _PARTS), None)
    if unknown is not None:
        problem = f"{table.where(unknown, column)}: this is no part"
        raise DataError(problem, expected=", ".join(_PARTS), got=repr(texts[unknown][:60]))
    return tuple(_PARTS[text] for text in texts)


def _in_memory(source: object, *, labelled: bool) -> SoundSource:
    pair: tuple[Any, ...] = source if isinstance(source, tuple) and len(cast(Any, source)) == 2 else ()
    sounds, labels = pair if labelled and pair else (source, None)
    rated: tuple[Any, ...] = sounds if isinstance(sounds, tuple) and len(cast(Any, sounds)) == 2 else ()
    if not rated or isinstance(rated[1], bool) or not isinstance(rated[1], int | np.integer) or rated[1] < 1:
        raise DataError(
            "this data cannot be read as sound",
            expected=FORMS if labelled else "a path, or (array, rate) or (arrays, rate)",
            got=f"an object of the type {type(source).__name__}",
        )
    arrays, rate = rated
    is_alone = isinstance(arrays, np.ndarray) and (labels is None)
    arrays = [arrays] if is_alone else list(arrays)
    if labelled and (labels is None or len(labels) != len(arrays)):
        got = f"{len(arrays)} sounds, {'no' if labels is None else len(labels)} labels"
        raise DataError("each sound has a label", expected=FORMS, got=got)
    read = [Sound(mono(array, f"sound {place}"), int(rate)) for place, array in enumerate(arrays)]
    named = None if labels is None else tuple(map(str, labels))
    return SoundSource(source_name(source) or IN_MEMORY, read, "row", tuple(range(len(read))), named)
