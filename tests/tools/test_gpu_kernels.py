"""The options of the tool that compiles kernels for GPUs."""

import pytest

from tools import gpu_kernels


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--cells", "gru,lstn"], "there is no 'lstn': lstm"),
        (["--cells", ""], "there is no ''"),
        (["--chips", "sm_91"], "there is no 'sm_91': sm_"),
        (["--sizes", "64"], "'64': sizes are such as 64:tf32"),
        (["--sizes", "x:tf32"], "'x:tf32': sizes"),
        (["--sizes", "0:tf32"], "'0:tf32': sizes"),
        (["--rows", "1,-1"], "'1,-1': numbers are whole and at least 1"),
        (["--rows", "0"], "'0': numbers"),
        (["--rows", ""], "'': numbers"),
    ],
)
def test_wrong_values_are_named(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu_kernels.main(options)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
