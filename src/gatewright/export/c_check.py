"""An exported pair of C files, compiled with the compiler that is here and run beside the NumPy reference."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gatewright.backends.c99.parts import CellStack
from gatewright.errors import GatewrightError
from gatewright.export.c_reading import drawn, run
from gatewright.export.difference import ALLOWED, Difference

COMPILERS = ("cc", "gcc", "clang")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
_MAIN = """
#include "{header}"

#include <stdio.h>

int main(void)
{{
    static {name}_state state;
    {declared};
    {real} y[{upper}_OUTPUT];

    {name}_reset(&state);
    while (fread({address}, sizeof x, 1, stdin) == 1) {{
        {name}_step(&state, x, y);
        fwrite(y, sizeof y, 1, stdout);
    }}
    return 0;
}}
"""


def difference(stack: CellStack, source: Path) -> Difference | None:
    """Compare the files of a stack with the reference on random inputs; None where no compiler is here.

    Raises GatewrightError where the compiler does not take the files.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return None
    inputs = drawn(stack)[:, :1]
    given = inputs.astype("int32" if stack.symbols else stack.dtype)
    with TemporaryDirectory() as folder:
        main, program = Path(folder) / "main.c", Path(folder) / "program"
        main.write_text(main_program(stack), encoding="utf-8")
        path = source.resolve()  # an absolute path is never taken for an option
        files = [str(path), str(main), "-o", str(program), "-lm"]
        done = subprocess.run(
            [compiler, *WARNINGS, f"-I{path.parent}", *files],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise GatewrightError(f"{compiler} does not take {source}", got=done.stderr.strip())
        output = subprocess.run([program], input=given.tobytes(), capture_output=True, check=True).stdout
    want = run(stack, inputs if stack.symbols else given)[:, 0]
    got = np.frombuffer(output, stack.dtype).reshape(want.shape)
    worst = float(np.abs(got - want).max() / max(1.0, np.abs(want).max()))
    return Difference(len(want), worst, ALLOWED[stack.dtype], compiler=Path(compiler).name)


def main_program(stack: CellStack) -> str:
    """A program that reads inputs and writes outputs, as bytes."""
    upper = stack.name.upper()
    declared, address = ("int x", "&x") if stack.symbols else (f"{stack.real} x[{upper}_INPUT]", "x")
    return _MAIN.format(
        header=stack.header, name=stack.name, upper=upper, real=stack.real, declared=declared, address=address
    )
