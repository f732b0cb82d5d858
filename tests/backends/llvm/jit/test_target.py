"""What is known about processors, and which of them this machine is."""

import pytest

from gatewright.backends.llvm.jit import target
from gatewright.backends.llvm.jit.target import TARGET_NAMES, Target, host, require_runnable, runnable, target_named
from gatewright.errors import OptionError

SSE2 = {"sse", "sse2"}
HAS = {
    "nothing beyond the first": SSE2,
    "x86-64-v2": SSE2 | {"sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16", "sahf"},
}
HAS["AVX alone"] = HAS["x86-64-v2"] | {"avx"}
HAS["x86-64-v3"] = HAS["AVX alone"] | {"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}
HAS["the first AVX-512"] = HAS["x86-64-v3"] | {"avx512f", "avx512cd"}
HAS["x86-64-v4"] = HAS["the first AVX-512"] | {"avx512bw", "avx512dq", "avx512vl"}


class _Features(dict[str, bool]):
    def flatten(self) -> str:
        return ",".join(f"{'+' if had else '-'}{name}" for name, had in sorted(self.items()))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Makes this look like another machine to the module, by its triple and features."""

    def pretend(triple: str, has: set[str]) -> None:
        features = _Features({name: name in has for name in HAS["x86-64-v4"] | has})
        monkeypatch.setattr(target.llvm, "get_process_triple", lambda: triple)
        monkeypatch.setattr(target.llvm, "get_host_cpu_features", lambda: features)
        forget()

    def forget() -> None:
        host.cache_clear()
        target.host_features.cache_clear()

    yield pretend
    monkeypatch.undo()
    forget()


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(target.VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("name", "width", "registers", "fma"),
    [("x86-64-v2", 16, 16, False), ("x86-64-v3", 32, 16, True), ("x86-64-v4", 64, 32, True), ("neon", 16, 32, True)],
)
def test_a_name_tells_vectors_and_registers(name: str, width: int, registers: int, fma: bool) -> None:
    found = target_named(name)
    assert (found.name, found.vector_bytes, found.vector_registers, found.has_fma) == (name, width, registers, fma)
    assert (found.lanes("float32"), found.lanes("float64")) == (width // 4, width // 8)


def test_wide_vectors_are_not_split() -> None:
    assert target_named("x86-64-v4").features.endswith(",-prefer-256-bit")
    assert "prefer-256-bit" not in target_named("x86-64-v3").needs


def test_this_machine_runs_its_own_code() -> None:
    assert target_named() == target_named("host") == host()
    assert runnable(host())
    assert require_runnable(host()) is None


def test_the_environment_chooses_where_no_argument_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(target.VARIABLE, "x86-64-v3")
    assert target_named().name == "x86-64-v3"
    assert target_named("neon").name == "neon"
    assert target_named("host") == host()


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError) as refused:
        target_named("pentium")
    assert str(refused.value) == (
        "there is no processor called 'pentium'\n"
        "  expected: host, x86-64-v2, x86-64-v3, x86-64-v4, neon\n"
        "  got: 'pentium'"
    )
    monkeypatch.setenv(target.VARIABLE, "AVX")
    with pytest.raises(OptionError, match="got: 'AVX', from the environment variable GATEWRIGHT_TARGET"):
        target_named()


def test_a_family_that_llvm_was_built_without_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "can_emit", lambda triple: triple.startswith("x86"))
    with pytest.raises(OptionError) as refused:
        target_named("neon")
    assert str(refused.value) == (
        "the installed LLVM makes no code for 'neon'\n  expected: one of x86-64-v2, x86-64-v3, x86-64-v4\n  got: 'neon'"
    )


@pytest.mark.parametrize(
    ("has", "width", "runs"),
    [
        ("nothing beyond the first", 16, []),
        ("x86-64-v2", 16, ["x86-64-v2"]),
        ("AVX alone", 16, ["x86-64-v2"]),
        ("x86-64-v3", 32, ["x86-64-v2", "x86-64-v3"]),
        ("the first AVX-512", 32, ["x86-64-v2", "x86-64-v3"]),
        ("x86-64-v4", 64, ["x86-64-v2", "x86-64-v3", "x86-64-v4"]),
    ],
)
def test_a_machine_is_as_wide_as_all_its_features_allow(machine, has: str, width: int, runs: list[str]) -> None:
    machine("x86_64-unknown-linux-gnu", HAS[has])
    assert host().vector_bytes == width
    assert host().has_fma == ("fma" in HAS[has])
    assert [name for name in TARGET_NAMES if name != "host" and runnable(target_named(name))] == runs
    assert runnable(host())


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "arm64-apple-darwin24.0.0"])
def test_every_arm_machine_has_neon(machine, triple: str) -> None:
    machine(triple, set())
    assert (host().vector_bytes, host().vector_registers, host().has_fma) == (16, 32, True)
    assert [name for name in TARGET_NAMES if runnable(target_named(name))] == ["host", "neon"]
    assert target_named("neon").triple == triple


def test_an_unknown_family_gets_short_vectors(machine) -> None:
    machine("riscv64-unknown-linux-gnu", set())
    assert (host().vector_bytes, host().vector_registers, host().has_fma) == (16, 16, False)


def test_what_a_machine_lacks_is_told(machine) -> None:
    machine("x86_64-unknown-linux-gnu", HAS["the first AVX-512"])
    with pytest.raises(OptionError) as refused:
        require_runnable(target_named("x86-64-v4"))
    assert str(refused.value) == (
        "kernels for 'x86-64-v4' do not run on this machine\n"
        "  expected: x86-64-v2 or x86-64-v3\n"
        "  got: 'x86-64-v4', which needs avx512bw, avx512dq, avx512vl\n"
        "  do: choose another target, or unset the environment variable GATEWRIGHT_TARGET for this machine's own"
    )
    with pytest.raises(OptionError, match="got: 'neon', which needs arm64"):
        require_runnable(target_named("neon"))


def test_targets_that_are_equal_are_one_key() -> None:
    again = Target(**vars(host()))
    assert again is not host()
    assert {again: 1}[host()] == 1
