"""Feeds the readers of weights with what libFuzzer thinks of: no test, but a program that runs until it is stopped.

    pip install atheris
    PYTHONPATH=src:. python -m tests.fuzz.readers onnx -max_total_time=300

The kinds are those of tests/convert/hostile_files.py. It begins with a valid file; a folder behind the options is
where it begins instead, and where it keeps what leads it further. What a reader does not refuse in words is written
to a file crash-*, which the next run can be given.
"""

import sys
import tempfile
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports]

with atheris.instrument_imports(include=["gatewright.convert"]):
    from gatewright import convert  # noqa: F401 (to be instrumented)

from tests.convert.hostile_files import KINDS, refusal, valid


def main() -> None:
    """Fuzz the readers of the kind that the command names."""
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: python -m tests.fuzz.readers {'|'.join(KINDS)} [libFuzzer's options] [FOLDER]")
    kind = KINDS[sys.argv.pop(1)]
    folder = Path(tempfile.mkdtemp(prefix="gatewright-fuzz-"))
    content = valid(kind, folder)
    path = folder / f"given{kind.suffix}"
    if not any(Path(one).is_dir() for one in sys.argv[1:]):
        corpus = folder / "corpus"
        corpus.mkdir()
        (corpus / "valid").write_bytes(content)
        sys.argv.append(str(corpus))

    def one(given: bytes) -> None:
        path.write_bytes(given)
        refusal(path)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
