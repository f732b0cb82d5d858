"""Generated texts are compared with the files under tests/golden, or written there on --update-golden."""

import difflib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class GoldenFiles:
    """Compare texts with the files in `folder`; with `update` on, write the files that differ instead."""

    folder: Path
    update: bool = False
    updated: list[str] = field(default_factory=list[str])

    def check(self, name: str, text: str) -> None:
        """Raise AssertionError, with a diff, unless `text` is what `folder/name` holds."""
        path = self.folder / name
        known = path.read_bytes().decode() if path.exists() else None
        if known == text:
            return
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
            self.updated.append(name)
            return
        remedy = "If the new text is right, run pytest with --update-golden and read what it changed."
        if known is None:
            raise AssertionError(f"there is no golden file {name}. {remedy}")
        difference = difflib.unified_diff(
            known.splitlines(), text.splitlines(), f"golden/{name}", "generated now", lineterm=""
        )
        shown = "\n".join(difference) or "(the texts differ in their line ends only)"
        raise AssertionError(f"the generated text differs from golden file {name}. {remedy}\n{shown}")
