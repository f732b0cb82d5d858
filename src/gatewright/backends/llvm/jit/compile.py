"""Compiles modules of LLVM IR; code that was compiled before on this machine is loaded from the cache on disk."""

import gc
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256

import llvmlite
import llvmlite.binding as llvm

from gatewright import __version__
from gatewright.backends.llvm.jit.generator import generator_digest
from gatewright.backends.llvm.jit.machine_code import CompileError, Library, Signature, Source, emit_object, spell
from gatewright.backends.llvm.jit.target import Target, require_runnable, target_named
from gatewright.kernel_cache import KernelCache, default_cache


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


def describe_schedule(key: str) -> str:
    """All that a schedule depends on, as one text; `key` says what it was made of."""
    return json.dumps({"schedule": key, "generator": generator_digest(), "gatewright": __version__})
