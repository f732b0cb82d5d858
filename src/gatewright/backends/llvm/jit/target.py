"""Targets: the processors that kernels are compiled for, with their LLVM features and the width of their vectors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import DTypeLike

from gatewright.errors import OptionError

VARIABLE = "GATEWRIGHT_TARGET"
"""The environment variable that names the target, where no argument does."""

_X86, _ARM = "x86-64", "arm64"
_FAMILIES = {"x86_64": _X86, "amd64": _X86, "aarch64": _ARM, "arm64": _ARM}

_V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")


@dataclass(frozen=True)
class Target:
    """One kind of processor.

    `features` is LLVM's list of its features: "+avx2,-fma4" has AVX2 and not FMA4. Code for a target runs on every
    processor that has all features with a plus.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    has_fma: bool

    def lanes(self, dtype: DTypeLike) -> int:
        """How many numbers of a dtype one vector holds."""
        return self.vector_bytes // np.dtype(dtype).itemsize

    @property
    def has_bfloat16_dot(self) -> bool:
        """Whether one instruction multiplies pairs of bfloat16 numbers and adds the products to a float32 sum."""
        return {"avx512bf16", "avx512vl"} <= self.needs

    @property
    def has_amx(self) -> bool:
        """Whether AMX multiplies bfloat16 numbers. On Linux only: each system grants the tiles in its own way."""
        is_linux = is_x86(self) and "linux" in self.triple
        return is_linux and self.has_bfloat16_dot and {"amx-tile", "amx-bf16"} <= self.needs

    @property
    def has_int8_dot(self) -> bool:
        """Whether one instruction multiplies fours of int8 numbers and adds the products to an int32 sum."""
        return {"avx512vnni", "avx512vl"} <= self.needs

    @property
    def needs(self) -> frozenset[str]:
        """The features that code for this target may use."""
        return frozenset(feature[1:] for feature in self.features.split(",") if feature.startswith("+"))


def _level(
    name: str, cpu: str, triple: str, has: tuple[str, ...], vector_bytes: int, vector_registers: int, tuning: str = ""
) -> Target:
    """The target of all processors that have a set of features; `tuning` is a further entry of LLVM's list."""
    features = ",".join(filter(None, [*(f"+{feature}" for feature in has), tuning]))
    return Target(name, triple, cpu, features, vector_bytes, vector_registers, "fma" in has or "neon" in has)


_LINUX, _ARM_LINUX = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"  # where the host is of another family
# LLVM splits 512-bit vectors on the processors that slow down when they use them, unless it is told not to.
_LEVELS: Mapping[str, Target] = {
    level.name: level
    for level in (
        _level("x86-64-v2", "x86-64-v2", _LINUX, _V2, 16, 16),
        _level("x86-64-v3", "x86-64-v3", _LINUX, _V3, 32, 16),
        _level("x86-64-v4", "x86-64-v4", _LINUX, _V4, 64, 32, "-prefer-256-bit"),
        _level("neon", "generic", _ARM_LINUX, ("neon",), 16, 32),
    )
}
TARGET_NAMES = ("host", *_LEVELS)
"""The names that `target_named` takes."""


def target_named(name: str | None = None) -> Target:
    """The target of that name, else of the name in the environment variable GATEWRIGHT_TARGET, else the host.

    Raises OptionError for a name that is not in TARGET_NAMES, and where this LLVM makes no code for it.
    """
    asked = name or os.environ.get(VARIABLE) or "host"
    if asked == "host":
        return host()
    if asked not in _LEVELS:
        raise OptionError(
            f"there is no processor called {asked!r}",
            expected=", ".join(TARGET_NAMES),
            got=repr(asked) + ("" if name else f", from the environment variable {VARIABLE}"),
        )
    level, own = _LEVELS[asked], llvm.get_process_triple()
    if not can_emit(level.triple):
        raise OptionError(
            f"the installed LLVM makes no code for {asked!r}",
            expected="one of " + ", ".join(other for other in _LEVELS if can_emit(_LEVELS[other].triple)),
            got=repr(asked),
        )
    return replace(level, triple=own) if _family(own) == _family(level.triple) else level


@cache
def host() -> Target:
    """The processor of this machine, with all of its features, and the vectors of its highest level."""
    triple = llvm.get_process_triple()
    family = _family(triple)
    supported = [
        level for level in _LEVELS.values() if _family(level.triple) == family and level.needs <= host_features()
    ]
    baseline = Target("", "", "", "", 16, 16, family == _ARM)
    best = max(supported, key=lambda level: level.vector_bytes, default=baseline)
    tuning = [feature for feature in best.features.split(",") if feature.startswith("-")]
    features = ",".join(filter(None, [llvm.get_host_cpu_features().flatten(), *tuning]))
    return replace(best, name="host", triple=triple, cpu=llvm.get_host_cpu_name(), features=features)


def is_x86(target: Target) -> bool:
    """Whether a target is a processor of the x86-64 family."""
    return _family(target.triple) == _X86


def runnable(target: Target) -> bool:
    """Whether code for a target runs on this machine."""
    return _family(target.triple) == _family(llvm.get_process_triple()) and target.needs <= host_features()


def require_runnable(target: Target) -> None:
    """Raise OptionError, which lists the missing features, if code for a target does not run on this machine."""
    if not runnable(target):
        own = _family(llvm.get_process_triple())
        missing = sorted(target.needs - host_features()) if _family(target.triple) == own else [_family(target.triple)]
        raise OptionError(
            f"kernels for {target.name!r} do not run on this machine",
            expected=" or ".join(name for name in _LEVELS if runnable(target_named(name))) or "another backend",
            got=f"{target.name!r}, which needs {', '.join(missing)}",
            do=f"choose another target, or unset the environment variable {VARIABLE} for this machine's own",
        )


@cache
def machine_for(target: Target) -> llvm.TargetMachine:
    """LLVM's code generator for a target: position-independent code, in the small code model."""
    return _backend(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


@cache
def host_features() -> frozenset[str]:
    """The features of this machine's processor, by LLVM's names."""
    reported = {feature for feature, is_there in llvm.get_host_cpu_features().items() if is_there}
    always = {"neon"} if _family(llvm.get_process_triple()) == _ARM else set[str]()
    return frozenset(reported | always)  # on some systems LLVM reports none


def _family(triple: str) -> str:
    machine = triple.partition("-")[0]
    return _FAMILIES.get(machine, machine)


@cache
def can_emit(triple: str) -> bool:
    """Whether this build of LLVM has a backend for the triple."""
    try:
        _backend(triple)
    except RuntimeError:
        return False
    return True


def _backend(triple: str) -> llvm.Target:
    _initialize(own=_family(triple) == _family(llvm.get_process_triple()))
    return llvm.Target.from_triple(triple)


@cache
def _initialize(*, own: bool) -> None:
    if own:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
