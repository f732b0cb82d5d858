"""Arrays as tables of numbers, in folders and archives: what they hold, and what is refused."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import files
from gatewright.errors import ConversionError

Files = dict[str, str]
GRU: Files = {
    "rnn____gru_cell____gates____kernel.0.prediction_inbw.csv": "\n".join(str(i / 20) for i in range(20)),
    "rnn____gru_cell____gates____kernel.0.prediction_inbw.shape": "5\n4\n",
    "rnn____gru_cell____gates____bias.csv": "1\n1\n1\n1\n",
    "rnn____gru_cell____candidate____kernel.csv": "1,2\n3,4\n5,6\n7,8\n9,1e-3\n",
    "rnn____gru_cell____candidate____bias.csv": "0.5\n-0.5",
}


def unpacked(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def packed(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            opened.addfile(member, io.BytesIO(text.encode()))
    return path


def test_folders_and_archives_are_read_alike(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "folder.of.tables", GRU)
    archive = packed(tmp_path / "cells.tar.gz", {f"a/b/{name}": text for name, text in GRU.items()})
    networks = [convert.read(path, "tf1") for path in (folder, archive, archive / "a", archive / "a" / "b")]
    for network in networks:
        (parameters,) = network.recurrent[0].directions
        np.testing.assert_array_equal(parameters["W.n"], [[1, 3, 5], [2, 4, 6]])
        np.testing.assert_array_equal(parameters["U.r"], [[0.6, 0.8], [0.65, 0.85]])
    assert convert.read(folder).layout == "tf1"


def test_names_and_shapes(tmp_path: Path) -> None:
    texts = {"a____b.csv": "1,2,3", "c.1.prediction.csv": "4", "d.csv": "5", "d.shape": "0"}
    texts |= {"e.csv": "", "e.shape": "0\n3"}
    arrays = files.read_arrays(unpacked(tmp_path / "folder", texts))
    assert {name: array.shape for name, array in arrays.items()} == {
        "a/b": (1, 3), "c:1": (1,), "d": (), "e": (0, 3),
    }  # fmt: skip


REFUSED: list[tuple[Files, str]] = [
    ({"a.csv": "1\ntwo\n"}, "a.csv holds what is no number"),
    ({"a.csv": "1,2\n3\n"}, "a.csv is not of its shape"),
    ({"a.csv": "1\n2\n", "a.shape": "3"}, "a.csv is not of its shape"),
    ({"a.csv": "1\n2\n", "a.shape": "-2\n-1"}, "a.csv is not of its shape"),
    ({"a.csv": "1\n2\n", "a.shape": "9999999999\n99999999999"}, "a.csv is not of its shape"),
    ({"a.csv": "1\n2\n", "a.shape": "two"}, "a.csv holds what is no number"),
    ({"a.csv": "1\nnan\n"}, r"array 'a' is not finite at \(1,\)"),
    ({"a.csv": "1\n1e999\n"}, r"array 'a' is not finite at \(1,\)"),
    ({"a.txt": "1"}, "holds no .csv files"),
]


@pytest.mark.parametrize(("texts", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_table_is_refused(texts: Files, message: str, tmp_path: Path) -> None:
    for path in (unpacked(tmp_path / "folder", texts), packed(tmp_path / "folder.tar.gz", texts)):
        with pytest.raises(ConversionError, match=message):
            files.read_arrays(path)


def test_a_folder_that_an_archive_has_not(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"holds no .csv files"):
        files.read_arrays(packed(tmp_path / "cells.tar.gz", GRU) / "elsewhere")


@pytest.mark.parametrize("end", [0, 10, 100, -40])
def test_an_archive_that_is_cut_short(end: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "cells.tar.gz", GRU)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ConversionError, match="cells.tar.gz"):
        files.read_arrays(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_members_that_are_no_plain_files(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.csv")
    member.type, member.linkname, member.size = kind, "/etc/passwd", 0
    with tarfile.open(tmp_path / "cells.tar.gz", "w:gz") as opened:
        opened.addfile(member)
    with pytest.raises(ConversionError, match="cells.tar.gz"):
        files.read_arrays(tmp_path / "cells.tar.gz")


def test_a_member_that_says_it_is_larger_than_its_archive_can_hold(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.csv")
    member.size = 1 << 40
    header = member.tobuf()
    (tmp_path / "cells.tar.gz").write_bytes(gzip.compress(header + b"1\n" * 256))
    with pytest.raises(
        ConversionError, match=r"cells.tar.gz cannot be read\n.*\n  got: ReadError: the archive ends within a.csv"
    ):
        files.read_arrays(tmp_path / "cells.tar.gz")


def test_an_archive_of_more_numbers_than_its_size_can_honestly_hold(tmp_path: Path) -> None:
    path = packed(tmp_path / "cells.tar.gz", {"a.csv": "0\n" * 700_000, "b.csv": "0\n" * 700_000})
    size = path.stat().st_size
    with pytest.raises(ConversionError) as caught:
        files.read_arrays(path)
    assert str(caught.value) == (
        f"{path} holds more numbers than a file of its size should\n"
        f"  expected: at most {2**20 + size:,} numbers in {size:,} bytes\n"
        "  do: unpack it, if it comes from where you trust, and give the folder"
    )


def test_rows_go_across_the_pieces_that_are_read_at_once(tmp_path: Path) -> None:
    rows = np.arange(120_000.0).reshape(-1, 3)
    text = "\r\n".join(",".join(str(number) for number in row) for row in rows)
    folder = unpacked(tmp_path / "folder", {"a.csv": text, "b.csv": ",".join(map(str, rows.ravel()))})
    arrays = files.read_arrays(folder)
    np.testing.assert_array_equal(arrays["a"], rows)
    np.testing.assert_array_equal(arrays["b"], rows.reshape(1, -1))


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "cells.tar.gz", tmp_path / "cells.tar.gz" / "rnn", tmp_path / "folder"):
        with pytest.raises(ConversionError, match="there is no file|no suffix"):
            convert.read(path)


def test_an_npz_has_arrays_of_any_name(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3.0), "allow_pickle": np.ones((2, 0)), "a/b.c": np.asfortranarray(np.eye(2, 3))}
    files.write_arrays(tmp_path / "some.npz", arrays)
    with np.load(tmp_path / "some.npz") as found:
        assert list(found) == list(arrays)
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_names_without_end_are_no_layers(tmp_path: Path) -> None:
    np.savez(tmp_path / "names.npz", **{"a" * 60000: np.ones(3), "a/" * 30000 + "kernel": np.ones((3, 3))})
    with pytest.raises(ConversionError, match="no recurrent layer of tf1"):
        convert.read(tmp_path / "names.npz", "tf1", family="rnn")


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text("1\n")
    folder = unpacked(tmp_path / "folder", {"a.csv": "1\n"})
    (folder / "b.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert list(files.read_arrays(folder)) == ["a"]


def test_tables_are_only_read(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "folder", GRU)
    network = convert.read(folder, "tf1")
    with pytest.raises(ConversionError, match="files of this kind hold no arrays"):
        convert.write(network, tmp_path / "out.tar.gz", "tf1")
