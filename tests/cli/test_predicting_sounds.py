"""`gatewright predict --data -` with a model of sounds: an answer for each window of what comes."""

import io
import json
import sys
from collections.abc import Callable

import numpy as np
import pytest

from tests.cli.conftest import Said
from tests.quick_runs import QuickRun


def test_a_stream_of_samples(quick_run: QuickRun, invoke: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    angles = 2 * np.pi * np.arange(1600) / 8000
    samples = np.concatenate([np.sin(1500 * angles), np.sin(400 * angles)])
    content = (samples * 9000).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    windows = ("--set", "stream_window=0.2", "--set", "stream_hop=0.2")
    code, out, messages = invoke("predict", quick_run("sounds")[1], "--data", "-", "--json", *windows)
    said = "8,000 samples a second, windows of 0.2 seconds every 0.2 (stream_rate, stream_window, stream_hop)"
    assert messages == f"stream: {said}\n"
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["start"], one["end"], one["class"]) for one in answers] == [(0, 0.2, "high"), (0.2, 0.4, "low")]
