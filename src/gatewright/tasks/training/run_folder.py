"""The folder of a run: its files, its lock, and checks of what is there already."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gatewright.errors import DataError, OptionError
from gatewright.files import remove_parts, write_atomically
from gatewright.model_file import FILE_NAME
from gatewright.tasks.data.published.registry import find_data_set
from gatewright.tasks.data.published.sources import IN_MEMORY, source_name
from gatewright.untrusted.json_text import parse_json
from gatewright.untrusted.kinds import misfit


def absolute(source: object) -> str | None:
    """The text stored for a source: an absolute path, the name of a data set, or `IN_MEMORY`."""
    name = None if source is None else source_name(source)
    if name is None or name == IN_MEMORY or find_data_set(name) is not None or not Path(name).exists():
        return name
    return str(Path(name).resolve())


DESCRIPTION: Mapping[str, Any] = {
    "recipe": str,
    "settings": dict[str, Any],
    "asked": dict[str, Any],
    "data": str | None,
    "origin": dict[str, Any],
    "trace": str,
    "threads": int,
    "devices": int,
    "nodes": int,
    "version": str,
    "watch": int,
}
"""The entries of `run.json`."""


def damaged(problem: str, *, expected: str | None = None, got: str | None = None) -> DataError:
    """The error for a file of a run that is damaged."""
    return DataError(
        problem,
        expected=expected,
        got=got,
        do="put a copy of it in its place, or start again with overwrite=True",
        shell="put a copy of it in its place, or start again with --overwrite",
    )


class RunFolder:
    """The files of one run.

    `run.json` is written first and describes what is trained; `result.json` is written last and holds the result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run.json"
        self.checkpoint = path / "last.ckpt"
        self.model = path / FILE_NAME
        self.metrics = path / "metrics.csv"
        self.curves = path / "curves.png"
        self.confusion = path / "confusion.png"  # of a classifier
        self.gradients = path / "gradients.jsonl"  # of a run that is watched
        self.gradient_picture = path / "gradients.png"
        self.tensorboard = path / "tensorboard"
        self.result = path / "result.json"

    @property
    def files(self) -> list[Path]:
        """Every file that a run writes, besides TensorBoard's."""
        kept = [self.run, self.checkpoint, self.model, self.metrics, self.curves, self.confusion, self.result]
        return [*kept, self.gradients, self.gradient_picture]

    @property
    def finished(self) -> bool:
        """Whether it holds a finished run."""
        return self.result.exists()

    def read(
        self, path: Path, kinds: Mapping[str, Any] | None = None, *, optional: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """The content of a JSON file of the folder. Raises DataError if it is damaged or lacks entries of `kinds`."""
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise damaged(f"{path} cannot be read", got=str(error)) from error
        if (wrong := misfit(content, kinds or {}, optional=optional)) is not None:
            expected, got = wrong
            raise damaged(f"{path} is damaged", expected=expected, got=repr(got)[:80])
        return content

    def description(self) -> dict[str, Any]:
        """The content of `run.json`, with checked types. Files of earlier versions may lack entries.

        Raises DataError where it is damaged.
        """
        needed = {"recipe", "settings", "data"}
        return self.read(self.run, DESCRIPTION, optional=frozenset(DESCRIPTION) - needed)

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a JSON file of the folder."""
        write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder's lock; leftovers of a killed process (its lock, partial files) are removed first."""
        from filelock import FileLock, Timeout

        if "\0" in str(self.path):
            raise OptionError(
                f"{str(self.path)!r} cannot be a folder: it holds a NUL",
                do="name another",
                shell="name another with --out",
            )
        lock = self.path / ".lock"
        created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, blocking=False):
                remove_parts(*self.files)
                try:
                    yield
                finally:
                    if not self.run.exists():  # nothing came of it, so nothing is left of it
                        lock.unlink()
                        with suppress(OSError):  # by now another run may be beside it
                            for folder in created:
                                folder.rmdir()
        except Timeout:
            raise OptionError(
                f"another process is training in {self.path}",
                do="wait for it, or name another folder",
                shell="wait for it, or name another folder with --out",
            ) from None
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise OptionError(
                f"{self.path} cannot be a folder to write in",
                got=str(error),
                do="name another",
                shell="name another with --out",
            ) from error

    def check_is(self, recipe: str, settings: Mapping[str, Any], source: object) -> None:
        """Check that the run in the folder has exactly these settings."""
        kept = self.description()
        has = {**kept["settings"], **kept.get("asked", {}), "recipe": kept["recipe"], "data": kept["data"]}
        wanted = {**settings, "recipe": recipe, "data": absolute(source)}
        differing = [key for key, value in wanted.items() if has.get(key) != value]
        if differing:
            raise OptionError(
                f"{self.path} holds a run with other settings",
                expected=", ".join(f"{key}={wanted[key]}" for key in differing),
                got=", ".join(f"{key}={has.get(key)}" for key in differing),
                do="name another folder, or delete this run",
                shell="name another folder with --out, or delete this run",
            )

    def check_new(self, *, overwrite: bool) -> None:
        """Refuse a folder that holds a run, or empty it if that was asked for."""
        there = [path for path in self.files if path.exists()]
        if not there:
            return
        if not self.run.exists():
            raise OptionError(
                f"{there[0]} is there already, and is not of a run of ours",
                do="name another folder",
                shell="name another folder with --out",
            )
        if not overwrite:
            state = "a finished run" if self.finished else "an unfinished run"
            raise OptionError(
                f"{self.path} holds {state} already",
                do=f"{'' if self.finished else 'resume goes on with it, '}overwrite=True deletes it and starts again",
                shell=f"{'' if self.finished else '--resume goes on with it, '}--out trains in another folder, "
                "--overwrite deletes it and starts again",
            )
        for path in there:
            path.unlink()
        for path in self.tensorboard.glob("events.out.tfevents.*"):
            path.unlink()
