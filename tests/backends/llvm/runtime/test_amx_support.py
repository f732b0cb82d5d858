"""Whether this process uses AMX: what Linux says, what the first product gives, and what turns it off."""

import ctypes
import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from llvmlite import ir

from gatewright.backends.llvm.emit.amx import AmxTiles
from gatewright.backends.llvm.emit.emitter import Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.jit import target as targets
from gatewright.backends.llvm.jit.amx_permission import requested
from gatewright.backends.llvm.jit.target import Target, host, target_named
from gatewright.backends.llvm.runtime import amx_support as support
from gatewright.backends.llvm.runtime.amx_support import AmxSupport, amx_support, decide
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.schedule.plan import plan
from tests.backends.llvm.emulated_amx import EmulatedAmx
from tests.backends.llvm.runtime.test_engine import given_for, pair_of

needs_rounding = pytest.mark.skipif(not host().has_bfloat16_dot, reason="vectors are rounded by AVX512_BF16")


class SwappedOperands(EmulatedAmx):
    """A kernel that confuses rows with weights."""

    label = "swapped AMX tiles"

    def dot(self, sums: int, rows: int, weights: int) -> None:
        super().dot(sums, weights, rows)


class OtherStride(EmulatedAmx):
    """A kernel that takes a stride for one in words."""

    label = "AMX tiles of another stride"

    def load(self, tile: int, pointer: Value, stride: Index) -> None:
        assert isinstance(stride, int)
        super().load(tile, pointer, stride // 4)


class NeverConfigured(EmulatedAmx):
    """A thread that uses tiles of no size."""

    label = "AMX tiles of no size"

    def configure(self) -> None:
        self.release()


class NotCompiled(EmulatedAmx):
    """Calls what is not in the module."""

    label = "AMX tiles that are not compiled"

    def zero(self, tile: int) -> None:
        self.e.call_intrinsic("from_elsewhere", ir.VoidType(), ())


def granted() -> str:
    return ""


@pytest.fixture
def amx_host(monkeypatch: pytest.MonkeyPatch) -> Target:
    """This processor, taken for one with AMX."""
    own = host()
    features = {"amx-tile", "amx-bf16", "avx512bf16", "avx512vl"}
    monkeypatch.setattr(support, "runnable", lambda target: True)
    monkeypatch.delenv(support.VARIABLE, raising=False)
    more = ",".join(f"+{feature}" for feature in sorted(features - own.needs))
    return replace(own, triple="x86_64-unknown-linux-gnu", features=f"{own.features},{more}")


def test_a_target_has_amx_with_all_its_features_on_linux(amx_host: Target) -> None:
    assert amx_host.has_amx
    assert not replace(amx_host, triple="x86_64-pc-windows-msvc").has_amx
    assert not replace(amx_host, triple="aarch64-unknown-linux-gnu").has_amx
    for feature in ("amx-tile", "amx-bf16", "avx512bf16"):
        assert not replace(amx_host, features=amx_host.features.replace(f"+{feature}", f"-{feature}")).has_amx
    assert not target_named("x86-64-v4").has_amx


def test_a_processor_without_amx_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "request_tiles", lambda: pytest.fail("Linux was asked"))
    assert amx_support(target_named("x86-64-v4")) == AmxSupport(None, "")


def test_code_for_another_machine_is_not_tried(amx_host: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "runnable", targets.runnable)
    monkeypatch.setattr(targets, "host_features", frozenset)
    assert amx_support(amx_host) == AmxSupport(None, "")


def test_linux_is_asked_for_the_tile_data() -> None:
    calls: list[tuple[int, ...]] = []

    def call(*arguments: Any) -> int:
        calls.append(tuple(argument.value for argument in arguments))
        return 0

    assert requested(call) == ""
    assert calls == [(158, 0x1023, 18)]


def test_a_refusal_says_why() -> None:
    def refusing(number: int) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            ctypes.set_errno(number)
            return -1

        return call

    assert requested(refusing(errno.ENOSPC)) == "Linux refuses tiles: ENOSPC, No space left on device"
    assert requested(refusing(errno.EPERM)) == "Linux refuses tiles: EPERM, Operation not permitted"

    def absent(*arguments: Any) -> int:
        raise AttributeError("no symbol syscall")

    assert requested(absent) == "the system cannot be asked for tiles: no symbol syscall"


def test_where_linux_refuses_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "compile_module", lambda *a, **k: pytest.fail("compiled"))
    assert decide(host(), EmulatedAmx, lambda: "Linux refuses tiles: EPERM") == AmxSupport(
        None, "Linux refuses tiles: EPERM"
    )


@needs_rounding
def test_a_right_product_turns_it_on() -> None:
    assert decide(host(), EmulatedAmx, granted) == AmxSupport(EmulatedAmx, "")


@needs_rounding
@pytest.mark.parametrize("tiles", [SwappedOperands, OtherStride, NeverConfigured])
def test_a_wrong_product_turns_it_off(tiles: type[AmxTiles]) -> None:
    verdict = decide(host(), tiles, granted)
    assert verdict.tiles is None
    assert verdict.obstacle.startswith("a product differs from the one by vectors by ")
    assert verdict.obstacle.endswith(" of its largest number")


@needs_rounding
def test_code_that_llvm_refuses_turns_it_off() -> None:
    verdict = decide(host(), NotCompiled, granted)
    assert verdict.tiles is None
    assert verdict.obstacle.startswith("LLVM does not compile kernels for it: ")


def test_the_environment_turns_it_off(amx_host: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "request_tiles", lambda: pytest.fail("Linux was asked"))
    monkeypatch.setenv(support.VARIABLE, "off")
    assert amx_support(amx_host) == AmxSupport(None, "the environment variable GATEWRIGHT_AMX is off")


@needs_rounding
def test_an_engine_takes_what_the_process_may_use(amx_host: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for products in bfloat16; where there is an obstacle the kernels are those of vectors."""
    given = given_for(pair_of("gru")[0], (2, 16, 16, 16))
    program, asked = plan(given.trace), list[Target]()

    def layout(products: Any, verdict: AmxSupport) -> str:
        def recorded(target: Target) -> AmxSupport:
            asked.append(target)
            return verdict

        monkeypatch.setattr("gatewright.backends.llvm.runtime.engine.amx_support", recorded)
        return Engine(program, given.sizes, "float32", target=amx_host, products=products).design(2, 16).layout

    assert "loop0 16 lanes, 16x1x1 of 2 in AMX tiles" in layout("bfloat16", AmxSupport(AmxTiles))
    assert asked == [amx_host]
    assert "AMX" not in layout("bfloat16", AmxSupport(None, "Linux refuses tiles: EPERM"))
    asked.clear()
    assert "AMX" not in layout(None, AmxSupport(AmxTiles)) + layout("int8", AmxSupport(AmxTiles))
    assert asked == []
