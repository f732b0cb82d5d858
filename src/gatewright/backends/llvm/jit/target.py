"""The processors that kernels are made for: what LLVM calls them, how wide their vectors are, and which run here."""

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

    `features` is LLVM's list of what it has and has not: "+avx2,-fma4". Code for it runs where all that it has is had.
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
        """Whether it multiplies pairs of bfloat16 numbers, and adds them to a float32 sum, in one instruction."""
        return {"avx512bf16", "avx512vl"} <= self.needs

    @property
    def has_int8_dot(self) -> bool:
        """Whether it multiplies fours of whole numbers of eight bits, and adds them to a sum, in one instruction."""
        return {"avx512vnni", "avx512vl"} <= self.needs

    @property
    def needs(self) -> frozenset[str]:
        """The features that code for this target may use."""
        return frozenset(feature[1:] for feature in self.features.split(",") if feature.startswith("+"))


def _level(
    name: str, cpu: str, triple: str, has: tuple[str, ...], vector_bytes: int, vector_registers: int, tuning: str = ""
) -> Target:
    """The target of all processors that share a set of features; `tuning` is how LLVM should make use of them."""
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
NAMES = ("host", *_LEVELS)
"""What `named` knows."""


def named(name: str | None = None) -> Target:
    """The target of a name; without one, that which the environment variable GATEWRIGHT_TARGET names, else the host.

    Raises OptionError for a name that is not in NAMES, and where this LLVM makes no code for it.
    """
    asked = name or os.environ.get(VARIABLE) or "host"
    if asked == "host":
        return host()
    if asked not in _LEVELS:
        raise OptionError(
            f"there is no processor called {asked!r}",
            expected=", ".join(NAMES),
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
    """The processor of this machine, with all that it has, and the vectors of the widest level that it reaches."""
    triple = llvm.get_process_triple()
    family = _family(triple)
    reached = [
        level for level in _LEVELS.values() if _family(level.triple) == family and level.needs <= host_features()
    ]
    baseline = Target("", "", "", "", 16, 16, family == _ARM)
    best = max(reached, key=lambda level: level.vector_bytes, default=baseline)
    tuning = [feature for feature in best.features.split(",") if feature.startswith("-")]
    features = ",".join(filter(None, [llvm.get_host_cpu_features().flatten(), *tuning]))
    return replace(best, name="host", triple=triple, cpu=llvm.get_host_cpu_name(), features=features)


def runnable(target: Target) -> bool:
    """Whether code for a target runs on this machine."""
    return _family(target.triple) == _family(llvm.get_process_triple()) and target.needs <= host_features()


def require_runnable(target: Target) -> None:
    """Hold that code for a target runs on this machine.

    Raises OptionError, which says what the machine lacks.
    """
    if not runnable(target):
        own = _family(llvm.get_process_triple())
        missing = sorted(target.needs - host_features()) if _family(target.triple) == own else [_family(target.triple)]
        raise OptionError(
            f"kernels for {target.name!r} do not run on this machine",
            expected=" or ".join(name for name in _LEVELS if runnable(named(name))) or "another backend",
            got=f"{target.name!r}, which needs {', '.join(missing)}",
            do=f"choose another target, or unset the environment variable {VARIABLE} for this machine's own",
        )


@cache
def machine_for(target: Target) -> llvm.TargetMachine:
    """What LLVM emits code with: code that may lie anywhere, with its constants close by."""
    return _backend(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


@cache
def host_features() -> frozenset[str]:
    """What this machine's processor has, by LLVM's names."""
    told = {feature for feature, had in llvm.get_host_cpu_features().items() if had}
    always = {"neon"} if _family(llvm.get_process_triple()) == _ARM else set[str]()
    return frozenset(told | always)  # LLVM cannot ask every system


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
