"""Damaged files of every kind that holds arrays: a network, or a refusal in words, and nothing else."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.convert.hostile_files import KINDS, Damage, damages, refusal, valid


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_file_is_read(kind: str, tmp_path: Path) -> None:
    valid(KINDS[kind], tmp_path)
    assert refusal(tmp_path / f"valid{KINDS[kind].suffix}") is None


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=damages())
def test_a_damaged_file_is_read_or_refused_in_words(kind: str, damage: Damage, tmp_path: Path) -> None:
    path = tmp_path / f"damaged{KINDS[kind].suffix}"
    path.write_bytes(damage(valid(KINDS[kind], tmp_path)))
    said = refusal(path)
    assert said is None or path.name in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    content = valid(KINDS[kind], tmp_path).rstrip()
    path = tmp_path / f"short{KINDS[kind].suffix}"
    for length in sorted({*range(0, len(content), max(len(content) // 60, 1)), len(content) - 1}):
        path.write_bytes(content[:length])
        assert refusal(path) is not None, f"{length} of {len(content)} bytes"
