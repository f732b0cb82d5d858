"""Draws the pictures of the pages in docs/: runs a page's code and keeps the SVG files that the page shows.

    GATEWRIGHT_DATA=FOLDER python -m tools.pictures_of_pages [PAGE...]

A page shows a picture as `pictures/NAME.svg`, and its code writes `NAME.svg`. Without PAGE, all pages with such
pictures are run. The pictures are committed. `make docs` does not draw them, because they show times and trained
networks, which differ from machine to machine.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

from gatewright.tasks.data.published.registry import DATA_SETS
from tests.architecture.documents import blocks, run_in_order
from tests.paths import ROOT

PICTURE = re.compile(r"\]\(pictures/([\w-]+\.svg)\)")


def pages() -> list[Path]:
    """The pages of docs/ that show pictures of their own."""
    return [path for path in sorted((ROOT / "docs").rglob("*.md")) if PICTURE.search(path.read_text(encoding="utf-8"))]


def draw(page: Path) -> list[Path]:
    """Run a page in a new folder and move its pictures beside it."""
    text = page.read_text(encoding="utf-8")
    folder = page.parent / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        run_in_order(blocks(text), str(page), sorted(DATA_SETS))
        for name in PICTURE.findall(text):
            lines = (
                (Path(work) / name).read_text(encoding="utf-8").splitlines()
            )  # matplotlib leaves spaces at their ends
            (folder / name).write_text("\n".join([*map(str.rstrip, lines), ""]), encoding="utf-8")
        os.chdir(ROOT)
    return [folder / name for name in PICTURE.findall(text)]


def main() -> None:
    """Draw the pictures of the pages that are named, or of all."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # no date in the files
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "gatewright"
    for page in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        for picture in draw(page):
            sys.stdout.write(f"{picture.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
