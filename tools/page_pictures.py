"""Draws docs/page.webp and docs/page-sound.webp: pages of `gatewright look`, as headless Chromium shows them.

    gatewright train text --data shakespeare --set epochs=1 tokens=400000 --out runs/shakespeare
    gatewright train sounds --data SOUNDS --out runs/sounds
    python -m tools.page_pictures runs/shakespeare runs/sounds

Each run reads data that it was measured on. The pictures are committed; they are not made by `make docs`, as a trained
network is not the same on every machine.
"""

import base64
import sys
import tempfile
from pathlib import Path

import gatewright as gw
from tests.look.chromium import Browser, chromium
from tests.paths import ROOT

PICTURES = ("page.webp", "page-sound.webp")
WIDTH, HEIGHT = 1280, 1290
QUALITY = 60  # of WebP: letters stay sharp, and a picture takes about 80 kB


def photograph(browser: Browser, page: Path, picture: Path, height: int = HEIGHT) -> None:
    """Open a page in light colours and write its upper part."""
    size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    browser.open(page.as_uri())
    content = browser.call("Page.captureScreenshot", format="webp", quality=QUALITY)["data"]
    picture.write_bytes(base64.b64decode(content))


def main(runs: list[str]) -> None:
    """Make the page of each run, and its picture."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        chromium(Path(folder) / "profile") as browser,
    ):
        for run, name in zip(runs, PICTURES, strict=True):
            page = gw.look.page(run, steps=600, rows=4).save(Path(folder) / "page.html")
            photograph(browser, page, ROOT / "docs" / name)
            sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
