"""Compiles a Triton function as its launch would, for a chip that need not be there.

What a launch knows of its arguments, such as which pointers are aligned, is part of what Triton keeps a compiled kernel
under. So Triton's own code says it here too: a kernel that was compiled to see what it takes is found on disk by its
first launch, and is not compiled again.
"""

from collections.abc import Mapping
from typing import Any


def compile_as_launched(function: Any, target: Any, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """The compiled kernel of a function for Triton's GPUTarget.

    - `arguments` by name: torch's dtype of what a pointer points to, None for an array that is left out, numbers.
    - `options`: those of the launch, such as num_warps.
    """
    import triton
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import MockTensor, create_function_from_signature

    backend = make_backend(target)
    given = {name: MockTensor.wrap_dtype(value) for name, value in arguments.items()}  # aligned, as torch's memory is
    bind = create_function_from_signature(function.signature, function.params, backend)
    bound, specialization, _ = bind(**given, **options)
    asked = {**given, **options}
    pack = getattr(function, "_pack_args", None) or _pack_args_of_older(function)
    parsed, signature, constants, attributes = pack(backend, asked, bound, specialization, options)
    source = ASTSource(function, signature, constants, attributes)
    return triton.compile(source, target=target, options=parsed.__dict__)


def _pack_args_of_older(function: Any) -> Any:
    """What the function's own `_pack_args` does, as Triton 3.4 has it in the middle of a launch."""

    def pack(backend: Any, asked: Any, bound: Mapping[str, Any], specialization: Any, _: Any) -> tuple[Any, ...]:
        kinds = [kind for kind, _ in specialization]
        signature = dict(zip((parameter.name for parameter in function.params), kinds, strict=True))
        values = list(bound.values())
        constants = {(place,): values[place] for place, kind in enumerate(kinds) if kind == "constexpr"}
        told = {(place,): known for place, (_, known) in enumerate(specialization) if isinstance(known, str)}
        attributes = {place: backend.parse_attr(known) for place, known in told.items()}
        return backend.parse_options(asked), signature, constants, attributes

    return pack
