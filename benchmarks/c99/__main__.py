"""Measures exported C code and makes the page of it.

    python -m benchmarks.c99 [--rtneural FOLDER] [--only SECTION,...] [--out docs]

What comes out: OUT/c99.json, and from it OUT/c99.md. With `--only` the other sections stay as they are. RTNeural is a
checkout of https://github.com/jatinchowdhury18/RTNeural with its submodules; without it only its published numbers are
shown. gcc, clang and arm-none-eabi-gcc have to be installed.
"""

import argparse
from pathlib import Path

from benchmarks import limits


def main() -> None:
    """Measure, and write down what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.c99", description=__doc__)
    parser.add_argument("--rtneural", type=Path)
    parser.add_argument("--only", type=lambda text: text.split(","), default=["speed", "size", "int8"])
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    limits.limit(1)
    from benchmarks import files
    from benchmarks.c99 import measure, page

    path = options.out / "c99.json"
    result = files.load(path) if path.exists() else {}
    for section in options.only:
        result[section] = getattr(measure, section)(options.rtneural)
    files.save(path, {key: value for key, value in result.items() if key != "format"})
    files.write_text(options.out / "c99.md", page.text(result))


if __name__ == "__main__":
    main()
