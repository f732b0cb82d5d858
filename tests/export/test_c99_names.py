"""Names that a cell or a path may have and C may not: the files compile all the same, as C and as C++."""

import subprocess
from pathlib import Path

import pytest

import gatewright as gw
from gatewright.backends.c99.names import RESERVED, Names, identifier
from gatewright.errors import OptionError
from gatewright.export.c_check import difference
from tests.backends.c99.compiled import C99, CXX, WARNINGS, compiler


@gw.cell
def words(x, int, double, new, NULL, I, assert_, exp, é, ö, W, U, b):  # noqa: E741, PLC2401
    auto = gw.sigmoid(W.é @ x + U.é @ int + b.é)
    errno = gw.tanh(W.ö @ x + U.ö @ int + b.ö)
    h_j = U.step @ exp
    linux = auto * int + (1 - auto) * errno
    bell = gw.exp(-é * é)
    return (
        linux,
        0.5 * double + errno,
        0.5 * new + auto,
        -NULL + h_j,
        0.25 * I + bell,
        assert_ + 1,
        exp * auto,
        0.5 * é + ö,
        -ö,
    )


@pytest.fixture(params=["own", "libm"])
def files(request: pytest.FixtureRequest, tmp_path: Path):
    layer = gw.nn.Recurrent(words, 3, 5, num_layers=2)
    return gw.export.c99(layer, tmp_path / "register.c", math=request.param)


@pytest.mark.parametrize("flags", [C99, CXX], ids=["c99", "c++"])
def test_values_states_and_parameters_have_names_that_compile(files, flags: tuple[str, ...], tmp_path: Path) -> None:
    assert files.name == "register_model"
    command = [compiler(), *flags, *WARNINGS, "-c", str(files.source), "-o", str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = difference(files.stack, files.source)
    assert found is not None
    assert found.fits


def test_the_header_can_stand_behind_others(files, tmp_path: Path) -> None:
    others = "".join(f"#include <{one}.h>\n" for one in ("assert", "complex", "errno", "math", "stdio", "tgmath"))
    (tmp_path / "main.c").write_text(f'{others}#include "register.h"\nint main(void) {{ return 0; }}\n')
    command = [compiler(), *C99, *WARNINGS, "-c", str(tmp_path / "main.c"), "-o", str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_identifiers() -> None:
    names = {"é": "e", "W.ö": "W_o", "h'": "h_new", "漢": "t_", "2": "t2", "α": "t_"}
    assert {name: identifier(name) for name in names} == names
    given = Names()
    assert [given.take(one) for one in ("int", "a", "a", "é", "e")] == ["int2", "a", "a2", "é", "e"]
    assert {"NULL", "I", "assert", "new", "co_await", "tanhf", "int32_t"} <= RESERVED


@pytest.mark.parametrize("stem", ["-Wall", "modèle", "with space", "it's", "2fast", "$(ls)", "a.b"])
def test_files_may_have_any_name(stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = gw.export.c99(gw.nn.Recurrent(gw.cells.gru, 2, 3), f"{stem}.c")
    assert sorted(one.name for one in tmp_path.iterdir()) == [f"{stem}.c", f"{stem}.h"]
    found = difference(files.stack, files.source)
    assert found is not None
    assert found.fits


@pytest.mark.parametrize("stem", ['a"b', "a\\b", "a\nb", "a\udcffb"])
def test_a_name_that_no_include_can_hold_is_refused(stem: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        gw.export.c99(gw.nn.Recurrent(gw.cells.gru, 2, 3), tmp_path / f"{stem}.c")
    assert str(caught.value) == (
        "the name of the file cannot stand in an #include of C\n"
        "  expected: a name without quotation marks, backslashes and control characters\n"
        f"  got: {stem!r}\n"
        "  do: give the file another name"
    )
    assert list(tmp_path.iterdir()) == []


def test_axes_that_differ_in_case_or_accents_are_sizes_of_their_own(tmp_path: Path) -> None:
    spaces = {"V": ("é", "input"), "W": ("h", "input"), "A": ("hidden", "é"), "B": ("hidden", "h")}

    @gw.cell(spaces=spaces)
    def sized(x, h, A, B, U, V, W):
        return gw.tanh(A.n @ (V.n @ x) + B.n @ (W.n @ x) + U.n @ h)

    layer = gw.nn.Recurrent(sized, 2, 3, sizes={"é": 4, "h": 5})
    files = gw.export.c99(layer, tmp_path / "e.c")
    found = difference(files.stack, files.source)
    assert found is not None
    assert found.fits
