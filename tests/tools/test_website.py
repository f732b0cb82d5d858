"""The site: every page is in its navigation, every link inside it resolves, and pages are prepared as they should."""

import os
import re
from pathlib import Path

import pytest

from tests.paths import ROOT

pytest.importorskip("tools.website", reason="the tools do not come with an installed package")

from tools.website.links import broken_links as built_links
from tools.website.navigation import DOCS, Page, sections, source
from tools.website.prepare import FENCE, LINK, navigation, prepared

PAGES = [page.path for section in sections().values() for page in section]


def without_code(text: str) -> str:
    return FENCE.sub("", text)


def fragments(text: str) -> set[str]:
    """The fragments of a page's headings, as Python-Markdown makes them; the second of two alike ends with _1."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain.lower())).strip("-")
        found[name] = found.get(name, 0) + 1
    return {f"{name}_{count}" if count else name for name, times in found.items() for count in range(times)}


def broken_links(pages: dict[str, str]) -> list[str]:
    """The links of a site's pages that lead to no page, file or heading of it."""
    broken = []
    for name, text in pages.items():
        body = without_code(text)
        targets = [(match[2], (match[3] or "")[1:]) for match in LINK.finditer(body)]
        targets += [("", fragment) for fragment in re.findall(r"\]\(#([^)\s]+)\)", body)]
        for path, fragment in targets:
            target = os.path.normpath(Path(name).parent / path) if path else name
            is_page = target in pages
            if not is_page and not (DOCS / target).is_file():
                broken.append(f"{name}: {path}")
            elif fragment and is_page and fragment not in fragments(pages[target]):
                broken.append(f"{name}: {path}#{fragment}")
    return broken


def test_the_navigation_names_every_page_once() -> None:
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    named = sorted(name for name in PAGES if source(name).is_relative_to(DOCS))
    assert named == pages, "name the page in tools/website/navigation.py"


def test_every_page_of_the_navigation_exists() -> None:
    assert [name for name in PAGES if not source(name).is_file()] == []


def test_every_page_begins_with_its_title() -> None:
    """A page without a first-level heading would have its file's name in the navigation."""
    titles = {
        name: re.findall(r"^# .+$", without_code(source(name).read_text("utf-8")), re.MULTILINE) for name in PAGES
    }
    assert {name: found for name, found in titles.items() if len(found) != 1} == {}


def test_every_link_inside_the_site_resolves() -> None:
    assert broken_links({name: prepared(source(name).read_text("utf-8"), name) for name in PAGES}) == []


def test_a_broken_link_is_found() -> None:
    pages = {
        "index.md": "[a](start/a.md) [b](start/a.md#two) [c](b.md) [d](start/a.md#three) [e](#title)\n\n# A title\n",
        "start/a.md": "# One\n\n## Two\n\n## Two\n\n[back](../index.md#a-title) [self](#two_1) [no](#two_2)\n\n"
        "```\n# Three\n```\n",
    }
    assert broken_links(pages) == [
        "index.md: b.md",
        "index.md: start/a.md#three",
        "index.md: #title",
        "start/a.md: #two_2",
    ]


def test_a_broken_link_of_the_built_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<a id="top" href="#top">1</a><a href="#no">2</a><a href="a/b.html#one">3</a><a href="a/b.html#two">4</a>'
        '<a href="https://example.org/x">5</a><img src="no.svg"><a href="a%2Fb.html">6</a><a href="a">7</a>'
    )
    (tmp_path / "a" / "b.html").write_text('<h2 id="one">One</h2><a href="../index.html#top">back</a>')
    (tmp_path / "404.html").write_text('<a href="/nowhere/">left out</a>')
    assert built_links(tmp_path) == [f"index.html: {link}" for link in ("#no", "a/b.html#two", "no.svg", "a")]


@pytest.mark.parametrize(
    ("page", "written", "shown"),
    [
        ("system.md", "[`cell.py`](../src/gatewright/lang/cell.py)", "`cell.py`"),
        ("system.md", "[a](../CONTRIBUTING.md#a-cell)", "[a](contributing.md#a-cell)"),
        ("start/install.md", "[a](../../CONTRIBUTING.md)", "[a](../contributing.md)"),
        ("start/install.md", "[a](../data.md#files)", "[a](../data.md#files)"),
        ("contributing.md", "[a](docs/system.md)", "[a](system.md)"),
        ("index.md", "[a](#b) [c](https://example.org/x.md)", "[a](#b) [c](https://example.org/x.md)"),
        ("index.md", "one\\\ntwo", "one<br>\ntwo"),
        ("index.md", "```output\n[a](../src/x.py)\\\n```", "``` { .text .output }\n[a](../src/x.py)\\\n```"),
        ("index.md", "```python\n```output\n```", "```python\n```output\n```"),
    ],
)
def test_a_page_is_prepared(page: str, written: str, shown: str) -> None:
    assert prepared(written, page) == shown


def test_the_navigation_is_written_as_toml() -> None:
    text = navigation({"Start": [Page("index.md", 'A "title"'), Page("a/b.md")]})
    assert text == '  { "Start" = [{ "A \\"title\\"" = "index.md" }, "a/b.md"] },'


def test_the_site_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {"/site/", "/build/"} <= set(ignored)
