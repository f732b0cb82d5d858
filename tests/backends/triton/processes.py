"""Processes in which Triton compiles kernels: in that of the tests its interpreter is on, since triton was imported."""

import json
import os
import subprocess
import sys
from typing import Any


def checked_output(*arguments: str, **environment: str) -> str:
    """What `python *arguments` prints, with further variables of the environment. It must end well."""
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, *arguments], env={**inherited, **environment}, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


def json_of(program: str, **environment: str) -> Any:
    """What the text of a program prints as JSON."""
    return json.loads(checked_output("-c", program, **environment))
