"""Finding, verifying and downloading the files of a data set; the server is this machine's own."""

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gatewright.errors import DataError
from gatewright.tasks.data.published import registry
from gatewright.tasks.data.published.data_set import DataFile, DataSet
from gatewright.tasks.data.published.locate import cache_folder, locate
from tests.tasks.data.formats import put

CONTENT = b"It was the best of times\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def a_row(url: str = "https://example.org/tale.txt", files: tuple[str, ...] = ("tale.txt",)) -> DataSet:
    made = tuple(DataFile(name, url, DIGEST, len(CONTENT)) for name in files)
    return DataSet("tale", "a tale", "public domain", made, aliases=("twocities",))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DataSet:
    """A data set of one file, an empty cache, and no folder given."""
    row = a_row()
    for name in row.names:
        monkeypatch.setitem(registry.BY_ANY_NAME, name, row)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GATEWRIGHT_DATA", raising=False)
    return row


@pytest.fixture
def folder(known: DataSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder that GATEWRIGHT_DATA names."""
    made = tmp_path / "given"
    made.mkdir()
    monkeypatch.setenv("GATEWRIGHT_DATA", str(made))
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the tale, and of a false one."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "tale.txt").write_bytes(CONTENT)
    (served / "false.txt").write_bytes(b"something else")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served)) as running:
        thread = Thread(target=partial(running.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("place", ["tale/tale.txt", "twocities/tale.txt", "tale.txt"])
def test_a_file_in_the_given_folder_is_found(folder: Path, place: str) -> None:
    expected = put(folder / place, CONTENT)
    assert locate("tale") == expected
    assert locate("twocities", "tale.txt") == expected


def test_a_file_in_the_cache_is_found_without_the_downloader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    expected = put(cache_folder() / "tale" / "tale.txt", CONTENT)
    assert locate("tale") == expected


def test_the_right_one_of_two_files_is_taken(folder: Path) -> None:
    put(folder / "tale" / "tale.txt", b"no")
    expected = put(folder / "tale.txt", CONTENT)
    assert locate("tale") == expected


@pytest.mark.parametrize("wrong", [CONTENT[:-1], b"X" + CONTENT[1:]], ids=["cut short", "changed"])
def test_a_corrupt_file_is_an_error(folder: Path, wrong: bytes) -> None:
    path = put(folder / "tale" / "tale.txt", wrong)
    with pytest.raises(DataError) as caught:
        locate("tale")
    assert str(caught.value) == (
        f"data set 'tale': the file {path} is not the published one\n"
        f"  expected: {len(CONTENT)} bytes with sha256 {DIGEST}\n"
        f"  got: {len(wrong)} bytes with sha256 {hashlib.sha256(wrong).hexdigest()}\n"
        "  do: delete it to have it downloaded again, or replace it by https://example.org/tale.txt"
    )


def test_a_missing_file_is_downloaded_once(known: DataSet, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BY_ANY_NAME, "tale", a_row(f"{server}/tale.txt"))
    path = locate("tale")
    assert path == cache_folder() / "tale" / "tale.txt"
    assert path.read_bytes() == CONTENT
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert locate("tale") == path


@pytest.mark.parametrize(
    ("address", "reason"), [("gone.txt", "HTTPError: 404"), ("false.txt", "ValueError: SHA256 hash")]
)
def test_a_failed_download_says_so(
    known: DataSet, server: str, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    url = f"{server}/{address}"
    monkeypatch.setitem(registry.BY_ANY_NAME, "tale", a_row(url))
    with pytest.raises(DataError) as caught:
        locate("tale")
    assert (caught.value.got or "").startswith(reason)
    assert caught.value.expected == f"{len(CONTENT)} bytes with sha256 {DIGEST}, from {url}"
    assert caught.value.do == (
        f"download {url} by hand and put it at {cache_folder() / 'tale' / 'tale.txt'}, "
        "or anywhere as <folder>/tale/tale.txt with GATEWRIGHT_DATA=<folder> set"
    )
    assert not (cache_folder() / "tale" / "tale.txt").exists()


def test_offline_the_way_out_names_the_given_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BY_ANY_NAME, "tale", a_row("http://127.0.0.1:9/tale.txt"))
    with pytest.raises(DataError) as caught:
        locate("tale")
    assert caught.value.problem == (
        "data set 'tale': the file tale.txt is not on this machine and could not be downloaded"
    )
    assert (caught.value.got or "").startswith("ConnectionError: ")
    assert caught.value.do == (
        f"download http://127.0.0.1:9/tale.txt by hand and put it at {folder / 'tale' / 'tale.txt'}"
    )


def test_without_the_downloader_it_is_named(known: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError) as caught:
        locate("tale")
    assert caught.value.got == "the package pooch, which downloads it, is not installed"
    assert (caught.value.do or "").startswith('pip install "gatewright[train]"; or download https://example.org/')


def test_a_given_folder_that_is_none_is_an_error(
    known: DataSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="GATEWRIGHT_DATA does not name a folder"):
        locate("tale")


def test_the_file_must_be_one_of_the_set(known: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BY_ANY_NAME, "tale", a_row(files=("one.txt", "two.txt")))
    with pytest.raises(DataError, match="data set 'tale' has several files\n  expected: the name of one: one.txt"):
        locate("tale")
    with pytest.raises(DataError, match="data set 'tale' has no file 'three.txt'"):
        locate("tale", "three.txt")
    with pytest.raises(DataError, match="data set 'python-docs' has no files"):
        locate("python-docs")


@pytest.mark.parametrize(("name", "size"), [("timemachine", 178_979), ("shakespeare", 1_115_394)])
def test_the_real_files_are_the_published_ones(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    assert locate(name).stat().st_size == size
