"""Pictures of the documents are written by the code beside them."""

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
tool = pytest.importorskip("tools.pictures_of_pages", reason="the tools do not come with an installed package")

PAGE = """\
# A page

```python
from pathlib import Path

Path("line.svg").write_text("<svg> \\n</svg>")
Path("other.svg").write_text("<svg>not shown</svg>")
```

![A line](pictures/line.svg)
"""


def test_a_page_draws_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    assert tool.draw(tmp_path / "page.md") == [tmp_path / "pictures" / "line.svg"]
    assert [path.read_text(encoding="utf-8") for path in (tmp_path / "pictures").iterdir()] == ["<svg>\n</svg>\n"]


def test_the_pages_with_pictures() -> None:
    assert "four-exercises.md" in [page.name for page in tool.pages()]
