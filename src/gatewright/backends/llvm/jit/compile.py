"""Compiles modules of LLVM IR; code that was compiled before on this machine is loaded from the cache on disk."""

import gc
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from gatewright import __version__
from gatewright.backends.llvm.jit.kernel_cache import KernelCache, default_cache
from gatewright.backends.llvm.jit.machine_code import CompileError, Library, Signature, Source, emit_object, spell
from gatewright.backends.llvm.jit.target import Target, require_runnable, target_named

GENERATOR_PARTS = (
    "axes.py",
    "lang",
    "trace",
    "derive",
    "schedule",
    "backends/base.py",
    "backends/coefficients.py",
    "backends/decompose.py",
    "backends/llvm",
)
"""What decides, with the key, which object code comes out."""


def compile_module(
    source: Source,
    functions: Mapping[str, Signature],
    *,
    key: str,
    target: Target | None = None,
    kept: KernelCache | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Library:
    """Compile a module for this machine, or take its object code from the cache, and make its functions callable.

    `key` says what the module is for: the structural hash of the trace, the schedule, whatever decides what is
    generated. The source may be a function that generates the module; it is then called only where the object code is
    not at hand, and `key` has to tell apart whatever it may return.

    `meanwhile` is called in another thread while LLVM compiles the module, when other Python code can run. It is not
    called where the object code is at hand. Its errors are dropped: whoever needs its result computes it again.

    Raises OptionError where the target does not run here, and CompileError where LLVM refuses the module.
    """
    target = target or target_named()
    require_runnable(target)
    kept = default_cache() if kept is None else kept
    description = describe(source, functions, key, target)
    code = kept.load(description)
    if code is not None:
        try:
            return Library(source, functions, code, target, from_cache=True)
        except CompileError as error:  # the entry is whole, but cannot be loaded: compile and replace it
            kept.reject(str(error.got))
    code = emit_object(text_of(source), functions, target, meanwhile=meanwhile)
    library = Library(source, functions, code, target, from_cache=False)
    kept.store(description, code)
    return library


def text_of(source: Source) -> str:
    """The LLVM IR of a module."""
    if isinstance(source, str):
        return source
    with _garbage_collection_off():
        return source()


@contextmanager
def _garbage_collection_off() -> Generator[None]:
    """Turn garbage collection off: the many new objects would make it walk through everything that torch has loaded."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def describe(source: Source, functions: Mapping[str, Signature], key: str, target: Target) -> str:
    """All that object code depends on, as one text."""
    parts = {
        "key": key,
        "functions": {name: spell(signature) for name, signature in functions.items()},
        "module": sha256(source.encode()).hexdigest() if isinstance(source, str) else "generated",
        "generator": generator_digest(),
        "gatewright": __version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
        "llvmlite": llvmlite.__version__,
        "target": asdict(target),
    }
    return json.dumps(parts, sort_keys=True)


@cache
def generator_digest() -> str:
    """A digest of the generator's own text: the version of the package stays the same while somebody works on it."""
    package = str(Path(__file__).parents[3])
    digest = sha256()
    for name in sorted(name for part in GENERATOR_PARTS for name in _source_files(package, part)):
        # `os` alone: reading these hundred files by `pathlib` takes twice as long
        descriptor = os.open(f"{package}/{name}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            digest.update(name.encode() + b"\0" + file.readall() + b"\0")
    return digest.hexdigest()


def _source_files(package: str, part: str) -> Iterator[str]:
    """The Python files of a part of the package, by their paths in it."""
    path = Path(package, part)
    if path.is_file():
        yield part
    elif path.is_dir():
        yield from _files_below(package, part)


def _files_below(package: str, folder: str) -> Iterator[str]:
    with os.scandir(f"{package}/{folder}") as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files_below(package, f"{folder}/{entry.name}")
            elif entry.name.endswith(".py"):
                yield f"{folder}/{entry.name}"
