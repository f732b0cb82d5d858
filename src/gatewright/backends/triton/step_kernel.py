"""The kernels of the stepped form: of a stage at one step, and those before the first step and after several.

They find their arrays through a table in device memory.
"""

from collections.abc import Collection, Mapping, Sequence

from gatewright.backends.triton.kernel_text import Argument, ArgumentKind, KernelText
from gatewright.backends.triton.stage_kernel import (
    LENGTHS,
    PRECISION_CONSTANTS,
    TIME_CONSTANTS,
    VARIABLES,
    StageGroup,
    StageWriter,
    constants,
    kernel_head,
    needed_elsewhere,
)
from gatewright.backends.triton.value_places import COPY_LINES
from gatewright.backends.triton.writer import HEADER, KernelNames, KernelWriter, indented
from gatewright.schedule.program import Program, Storage
from gatewright.trace.ir import Var

STEP_SLOT, STEPS_SLOT, FIRST_ADDRESS = 0, 1, 2
"""The table: the steps taken so far, their number in all, then the addresses of arrays."""
_TABLE = {"table": "int64"}


def step_text(
    program: Program,
    group: StageGroup,
    sizes: Mapping[str, int],
    name: str,
    *,
    kept: Collection[str],
    copied: Collection[Argument],
    table: Mapping[Argument, int],
) -> KernelText:
    """The kernel of a group for the rows of one step. Its products are accumulated.

    Its grid is (tiles of rows, tiles of features). It takes the table of addresses, the number of steps since the table
    was last brought up to date, B, and the constants E0, E1, ... (element types of `arguments`), ALIGNMENT, A, D, P,
    EMULATED, BACKWARDS, RAGGED, BM, BN, BK. Rows that have ended do nothing; where a whole tile has, nothing is read.
    """
    writer = StageWriter(program, sizes, copied=copied)
    work = writer.group_lines(group, kept)
    kernel_writer = writer.kernel
    arguments = (*kernel_writer.arguments, LENGTHS)
    types = [f"E{number}" for number in range(len(arguments))]
    tile = constants("BM", "BN", "BK")
    unaligned = kernel_writer.unaligned(program.shapes)
    numbers = ["step", "B", *constants(*types, "ALIGNMENT", *PRECISION_CONSTANTS, *TIME_CONSTANTS), *tile]
    body = [
        f"s = tl.load(table + {STEP_SLOT}) + step",
        f"t = tl.load(table + {STEPS_SLOT}) - 1 - s if BACKWARDS else s",
        "rows = tl.program_id(0) * BM + tl.arange(0, BM)",
        "active = rows < B",
        "busy = 1",
        "if RAGGED:",
        f"    lengths = tl.load(table + {table[LENGTHS]}).to(tl.pointer_type({types[-1]}))",
        "    active = active & (t < tl.load(lengths + rows, mask=active, other=0))",
        "    busy = tl.max(active.to(tl.int32), 0)",
        "if busy > 0:",
        *indented(
            [
                *(
                    f"{pointer} = {_from_table(table[argument], element, aligned=pointer not in unaligned)}"
                    for (argument, pointer), element in zip(kernel_writer.arguments.items(), types, strict=False)
                ),
                "lead = t * B",
                "before = lead + B if BACKWARDS else lead",
                "after = lead if BACKWARDS else lead + B",
                *(COPY_LINES if copied else ()),
                *writer.feature_lines(group, "tl.program_id(1)"),
                *work,
            ]
        ),
    ]
    head = kernel_head(name, ["table"], numbers)
    return KernelText(name, kernel_writer.text(head, body), arguments, by_table=True, workspace=_TABLE)


def _from_table(slot: int, element: str, *, aligned: bool) -> str:
    """A pointer. What is known of its alignment is lost on the way through memory, and said again."""
    pointer = f"tl.load(table + {slot}).to(tl.pointer_type({element}))"
    return f"tl.multiple_of({pointer}, ALIGNMENT)" if aligned else pointer


def begin_text(
    carried: Sequence[Var], sizes: Mapping[str, int], table: Mapping[Argument, int], name: str
) -> KernelText:
    """The kernel before the first step: it fills the table, and writes the start of each state into its slot.

    Its grid is (tiles of rows, tiles of the widest state). It takes the pointers in `arguments`, the table, T, B, and
    the constants A, D, P, EMULATED, BACKWARDS, RAGGED, BM, BN. A START may be None: the state is zero then.
    """
    names = KernelNames()
    for variable in VARIABLES:
        names.take(variable)
    starts = [Argument(ArgumentKind.START, state.name) for state in carried]
    roles = {ArgumentKind.STATE: "steps", ArgumentKind.START: "start", ArgumentKind.COPY: "copy"}
    parameters = {argument: names.of(argument.name, roles.get(argument.kind, "ptr")) for argument in (*table, *starts)}
    parameters[LENGTHS] = "lengths"
    body = [
        "if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):",
        f"    tl.store(table + {STEP_SLOT}, 0)",
        f"    tl.store(table + {STEPS_SLOT}, T)",
    ]
    for argument, slot in table.items():
        pointer = parameters[argument]
        body += [f"    if {pointer} is not None:", f"        tl.store(table + {slot}, {pointer}.to(tl.int64))"]
    body += [
        "rows = tl.program_id(0) * BM + tl.arange(0, BM)",
        "active = rows < B",
        *start_lines(carried, sizes, parameters, "tl.program_id(1)"),
    ]
    numbers = ["T", "B", *constants(*PRECISION_CONSTANTS, *TIME_CONSTANTS, "BM", "BN")]
    # addresses are all that it needs of most of them
    head = kernel_head(name, [*parameters.values(), "table"], numbers, parameters.values())
    writer = KernelWriter(sizes)
    if any(argument.kind is ArgumentKind.COPY for argument in parameters):
        writer.functions.add("narrowed")
    text = writer.text(head, body)
    return KernelText(name, text, tuple(parameters), workspace=_TABLE)


def start_lines(
    carried: Sequence[Var], sizes: Mapping[str, int], pointers: Mapping[Argument, str], tile: str
) -> list[str]:
    """Write the start of each state into its slot: the first; backwards the last, or that after the end of each row.
    So for the copies that have a pointer."""
    lines = [
        "first = tl.zeros((BM,), tl.int64)",
        "if BACKWARDS:",
        "    first += T",
        "    if RAGGED:",
        "        first = tl.load(lengths + rows, mask=active, other=0).to(tl.int64)",
        *(["copy = (first & 1) * B + rows"] if any(key.kind is ArgumentKind.COPY for key in pointers) else []),
        "first = first * B + rows",
        f"feature = {tile} * BN + tl.arange(0, BN)",
    ]
    for state in carried:
        size = sizes[state.shape[0]] if state.shape else 1
        start, slots = (pointers[Argument(kind, state.name)] for kind in (ArgumentKind.START, ArgumentKind.STATE))
        copies = pointers.get(Argument(ArgumentKind.COPY, state.name))
        lines += [
            f"mask = active[:, None] & (feature < {size})[None, :]",
            f"value = tl.zeros((BM, BN), {slots}.dtype.element_ty)",
            f"if {start} is not None:",
            f"    value = tl.load({start} + rows[:, None] * {size} + feature[None, :], mask=mask, other=0.0)",
            f"    value = value.to({slots}.dtype.element_ty)",
            f"tl.store({slots} + first[:, None] * {size} + feature[None, :], value, mask=mask)",
        ]
        if copies:
            place = f"{copies} + copy[:, None] * {size} + feature[None, :]"
            lines.append(f"tl.store({place}, narrowed(value, D, P, EMULATED), mask=mask)")
    return lines


ADVANCE = KernelText(
    "advance",
    f'''{HEADER}

@triton.jit(do_not_specialize=["count"])
def advance(table, count):
    """Bring the number of steps taken up to date."""
    tl.store(table + {STEP_SLOT}, tl.load(table + {STEP_SLOT}) + count)
''',
    (),
    workspace=_TABLE,
)


def carried_states(program: Program) -> tuple[Var, ...]:
    """The states that the loop carries from step to step."""
    stored = {store.name for stage in program.loop for store in stage.stores if store.storage is Storage.STATE}
    return tuple(state for state in program.trace.states if state.name in stored)


def table_slots(
    program: Program,
    groups: Sequence[StageGroup],
    carried: Sequence[Var],
    sizes: Mapping[str, int],
    copied: Collection[Argument],
) -> dict[Argument, int]:
    """Where the table holds the address of each array."""
    arguments: dict[Argument, None] = {}
    for group in groups:
        writer = StageWriter(program, sizes, copied=copied)
        writer.group_lines(group, needed_elsewhere(groups, group, copied))
        arguments |= dict.fromkeys(writer.kernel.arguments)
    arguments |= dict.fromkeys(Argument(ArgumentKind.STATE, state.name) for state in carried)
    return {argument: FIRST_ADDRESS + slot for slot, argument in enumerate((*arguments, LENGTHS))}
