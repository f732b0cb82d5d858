"""Commands, run as a person runs them."""

import sys
from collections.abc import Callable

import pytest

from gatewright import cli

Said = tuple[int, str, str]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Run a command in this process: exit code, output, messages."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["gatewright", *map(str, arguments)])
        monkeypatch.delenv("GATEWRIGHT_DEBUG", raising=False)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run
