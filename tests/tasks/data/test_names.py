"""The names that `gatewright.tasks.data` loads when they are first asked for."""

import pytest

from gatewright.tasks import data


def test_every_name_is_found_in_its_module() -> None:
    for name in dir(data):
        assert getattr(data, name) is not None


def test_a_name_of_an_earlier_version_still_leads_to_its_class() -> None:
    assert data.Series is data.TimeSeries
    assert data.Parts is data.Splits


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'gatewright\.tasks\.data' has no attribute 'load_nothing'$"):
        _ = data.load_nothing
