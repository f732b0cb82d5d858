"""LLVM's language becomes machine code for any target, or is refused with a reason."""

import ctypes

import llvmlite.binding as llvm
import pytest

from gatewright.backends.llvm.jit.machine_code import CompileError, emit_assembly, emit_object
from gatewright.backends.llvm.jit.target import TARGET_NAMES, machine_for, target_named
from tests.backends.llvm.memory import growth, needs_proc
from tests.backends.llvm.modules import BLOCK, SAXPY, block, calling, saxpy

NAMED = TARGET_NAMES[1:]


@pytest.mark.parametrize(
    ("name", "register", "instruction"),
    [
        ("x86-64-v2", "%xmm", "mulps"),
        ("x86-64-v3", "%ymm", "vfmadd"),
        ("x86-64-v4", "%zmm", "vfmadd"),
        ("neon", ".4s", "fmla"),
    ],
)
def test_every_target_uses_its_own_vectors(name: str, register: str, instruction: str) -> None:
    target = target_named(name)
    text = emit_assembly(block(target.lanes("float32"), fused=target.has_fma), target)
    assert register in text
    assert instruction in text
    for wider in {"%ymm", "%zmm"} - {register}:
        assert wider not in text
    assert "call" not in text


@pytest.mark.parametrize("name", NAMED)
def test_object_code_is_emitted_for_every_target(name: str) -> None:
    target = target_named(name)
    assert len(emit_object(block(4, fused=target.has_fma), BLOCK, target)) > 100


# What is refused


def test_options_of_llvm_are_as_they_were_afterwards() -> None:
    target = target_named("x86-64-v3")
    source = saxpy().replace("ptr %x, i64 %i", "ptr %x, i64 %third")
    source = source.replace("  %x.i =", "  %third = mul i64 %i, 3\n  %x.i =")

    def by_others() -> bytes:
        with llvm.create_context() as context, llvm.parse_assembly(source, context) as module:
            module.triple, module.data_layout = target.triple, str(machine_for(target).target_data)
            return machine_for(target).emit_object(module)

    before = by_others()
    assert emit_object(source, SAXPY, target) != before
    assert by_others() == before


def test_what_llvm_does_not_understand_is_refused() -> None:
    with pytest.raises(CompileError) as refused:
        emit_object("define void @saxpy() { ret i32 1 }", SAXPY, target_named("x86-64-v2"))
    assert str(refused.value).startswith(
        "LLVM refuses the code that was generated for 'x86-64-v2'\n  got: LLVM IR parsing error\n"
    )
    assert "value doesn't match function result type 'void'" in str(refused.value)


def test_a_module_that_breaks_a_rule_of_llvm_is_refused() -> None:
    unreached = "define void @f() {\nentry:\n  br label %entry\n}\n"
    with pytest.raises(CompileError, match="Entry block to function must not have predecessors"):
        emit_object(unreached, {"f": ()}, target_named("host"))


def test_a_function_that_is_missing_is_told() -> None:
    with pytest.raises(CompileError) as refused:
        emit_object(saxpy(), {"gru_forward": ()}, target_named("host"))
    assert str(refused.value) == "the code that was generated lacks the function 'gru_forward'\n  got: saxpy"
    with pytest.raises(CompileError, match="lacks the function 'elsewhere'"):
        emit_object(calling("elsewhere"), {"elsewhere": ()}, target_named("host"))


def test_a_function_of_another_type_is_told() -> None:
    with pytest.raises(CompileError) as refused:
        emit_object(
            saxpy(),
            {"saxpy": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double, ctypes.c_int64)},
            target_named("host"),
        )
    assert str(refused.value) == (
        "the function 'saxpy' that was generated has another type than its caller uses\n"
        "  expected: void (ptr, ptr, double, i64)\n"
        "  got: void (ptr, ptr, float, i64)"
    )


def test_a_call_of_a_function_from_elsewhere_is_told() -> None:
    with pytest.raises(CompileError) as refused:
        emit_object(calling("abort"), {"f": ()}, target_named("x86-64-v2"))
    assert str(refused.value) == (
        "the code that was generated for 'x86-64-v2' calls what is not part of it\n  got: abort"
    )


@pytest.mark.parametrize("name", NAMED)
def test_mathematics_that_the_generator_left_to_a_library_is_told(name: str) -> None:
    module = """
declare float @llvm.exp.f32(float)
define void @f(ptr %x) {
  %before = load float, ptr %x
  %after = call float @llvm.exp.f32(float %before)
  store float %after, ptr %x
  ret void
}
"""
    with pytest.raises(CompileError, match=f"'{name}' calls what is not part of it\n  got: expf$"):
        emit_object(module, {"f": (ctypes.c_void_p,)}, target_named(name))


def test_a_multiply_add_that_the_target_lacks_is_told() -> None:
    with pytest.raises(CompileError, match="got: fmaf$"):
        emit_object(block(4, fused=True), BLOCK, target_named("x86-64-v2"))


# What is given back


@needs_proc
def test_compiling_again_and_again_takes_no_memory() -> None:
    target = target_named("host")
    assert growth(lambda number: emit_object(saxpy(plus=float(number)), SAXPY, target), 300) < 300 * 1024


@needs_proc
def test_reading_the_instructions_takes_no_memory() -> None:
    target = target_named("host")
    assert growth(lambda number: emit_assembly(saxpy(plus=float(number)), target), 100) < 300 * 1024


@needs_proc
def test_refusing_takes_no_memory() -> None:
    def turn(number: int) -> None:
        for module in (saxpy(plus=float(number)), "define void @saxpy() { ret i32 1 }"):
            with pytest.raises(CompileError):
                emit_object(module, {"axpy": ()}, target_named("host"))

    assert growth(turn, 300) < 300 * 1024
