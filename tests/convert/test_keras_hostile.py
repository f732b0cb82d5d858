"""Files that claim to be of Keras and are damaged, or made to do harm: a clear error, and no memory to speak of."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright import convert
from gatewright.errors import ConversionError
from tests.convert.keras_models import UNITS, kernels, layer, legacy, numbered, sequential, zipped

h5py = pytest.importorskip("h5py")

HUGE = 1 << 40
MEGABYTE = 1 << 20


def model(path: Path) -> Path:
    """A small file of Keras 2."""
    arrays = {f"a/{name}:0": array for name, array in kernels("LSTM").items()}
    return legacy(path, [layer("LSTM", "a", units=UNITS)], {"a": arrays})


def with_kernel(path: Path, make: Callable[[Any], None]) -> Path:
    """The same with something else in the place of its kernel."""
    model(path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/a/a"]
        del group["kernel:0"]
        make(group)
    return path


def external(group: Any) -> None:
    group["kernel:0"] = h5py.ExternalLink("/etc/other.h5", "kernel")


def soft(group: Any) -> None:
    group["kernel:0"] = h5py.SoftLink("/model_weights/a/a/recurrent_kernel:0")


def virtual(group: Any) -> None:
    layout = h5py.VirtualLayout((3, 16), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "kernel", (3, 16))
    group.create_virtual_dataset("kernel:0", layout)


def outside(group: Any) -> None:
    group.create_dataset("kernel:0", (3, 16), "f4", external=[("other.bin", 0, 3 * 16 * 4)])


def huge(group: Any) -> None:
    group.create_dataset("kernel:0", (HUGE, 16), "f4")


def sparse(group: Any) -> None:
    group.create_dataset("kernel:0", (HUGE, 16), "f4", chunks=(3, 16))


def one_chunk(group: Any) -> None:
    group.create_dataset("kernel:0", (3, 16), "f4", chunks=(3, 1 << 24), maxshape=(3, None))


def bomb(group: Any) -> None:
    group.create_dataset("kernel:0", data=np.zeros((1 << 21, 16), "f4"), compression="gzip", chunks=(1 << 14, 16))


def texts(group: Any) -> None:
    group["kernel:0"] = np.array([b"x"] * 3)


def objects(group: Any) -> None:
    group["kernel:0"] = np.array(["x"] * 3, dtype=h5py.string_dtype())


def not_finite(group: Any) -> None:
    group["kernel:0"] = np.full((3, 16), np.nan, "f4")


def nothing(group: Any) -> None:
    del group


def wrong_rank(group: Any) -> None:
    group["kernel:0"] = np.zeros((3, 16, 1), "f4")


HOSTILE = {
    external: "is a link to another place",
    soft: "is a link to another place",
    virtual: "is made of other files",
    outside: "is made of other files",
    huge: "larger than it can be",
    sparse: "larger than it can be",
    one_chunk: "larger than it can be",
    bomb: "larger than it can be",
    texts: "holds no numbers",
    objects: "holds no numbers",
    not_finite: "is not finite at",
    nothing: "has no array 'a/kernel:0'",
    wrong_rank: "does not fit its layout",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda one: one.__name__)
def test_an_array_that_is_not_simply_there_is_refused_without_memory_for_it(
    make: Callable[[Any], None], tmp_path: Path
) -> None:
    path = with_kernel(tmp_path / "model.h5", make)
    convert.read(model(tmp_path / "honest.h5"))  # whatever is loaded once is loaded
    tracemalloc.start()
    try:
        with pytest.raises(ConversionError, match=HOSTILE[make]) as caught:
            convert.read(path)
        assert tracemalloc.get_traced_memory()[1] < 16 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert "model.h5" in str(caught.value)


def test_arrays_that_are_packed_a_little_are_read(tmp_path: Path) -> None:
    kernel = kernels("LSTM")["kernel"]
    packed = with_kernel(
        tmp_path / "m.h5", lambda group: group.create_dataset("kernel:0", data=kernel, compression="gzip", shuffle=True)
    )
    np.testing.assert_array_equal(convert.read(packed).recurrent[0].directions[0]["W.i"], kernel[:, :UNITS].T)


def test_a_list_of_texts_that_are_all_one_long_text_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["other"] = "x" * MEGABYTE
        file["model_weights"].attrs.create("layer_names", ["a"] * 4000, dtype=h5py.string_dtype())
    with pytest.raises(ConversionError, match="could be larger than its file"):
        convert.read(path)


def test_a_heap_without_an_end_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path / "model.h5")
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL\x01") + 16
    content[at : at + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="a heap of texts whose sizes are wrong"):
        convert.read(path)


def test_a_text_that_says_it_is_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path / "model.h5")
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL\x01").to_bytes(8, "little")
    at = content.index(heap, content.index(b"model_config\0"))
    content[at - 4 : at] = (3 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="attribute 'model_config' says that it is larger than it can be"):
        convert.read(path)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
@given(share=st.floats(0, 0.999))
def test_a_file_that_is_cut_short_is_refused(name: str, share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = whole(folder) if name.endswith("keras") else model(folder / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ConversionError, match=name):
        convert.read(path)


def whole(folder: Path) -> Path:
    """A small file of Keras 3."""
    config = sequential(layer("LSTM", "a", units=UNITS))
    return zipped(folder / "model.keras", config, {"lstm/cell": list(kernels("LSTM").values())})


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    (tmp_path / "b.keras").write_bytes(b"PK\x03\x04")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["x"] = np.zeros(3)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.attrs["nb_layers"] = 3
    expected = {
        "a.h5": "is no HDF5 file",
        "b.keras": "cannot be read",
        "c.h5": "holds no weights of Keras",
        "d.h5": "Keras 0",
    }
    for name, reason in expected.items():
        with pytest.raises(ConversionError, match=reason):
            convert.read(tmp_path / name)
    with pytest.raises(ConversionError, match="there is no file"):
        convert.read(tmp_path / "e.h5")


def repacked(path: Path, **members: bytes | None) -> Path:
    """A .keras file with other members; None leaves one out."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            found = members.get(name.partition(".")[0], old.read(name))
            if found is not None:
                new.writestr(name, found)
    path.write_bytes(content.getvalue())
    return path


DEEP = b"[" * 20_000 + b"]" * 20_000
MEMBERS: dict[str, dict[str, bytes | None]] = {
    "config.json is larger than it can be": {"config": b" " * 64 * MEGABYTE},
    "model.weights.h5 is larger than it can be": {"model": bytes(64 * MEGABYTE)},
    "its configuration is no JSON": {"config": DEEP},
    "cannot be read": {"metadata": None},
    "no model of Keras": {"config": b"[]"},
    "is no HDF5 file": {"model": b"nothing"},
    "no list of layers": {"config": json.dumps({"class_name": "Sequential", "config": {"layers": [3]}}).encode()},
}


@pytest.mark.parametrize("reason", MEMBERS)
def test_what_lies_in_a_keras_file_is_not_believed_either(reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=reason):
        convert.read(repacked(whole(tmp_path), **MEMBERS[reason]))


def test_a_layer_that_holds_layers_is_not_passed_over(tmp_path: Path) -> None:
    groups = {"lstm/cell": list(kernels("LSTM").values()), "sequential/layers/lstm/cell": []}
    path = numbered(tmp_path / "m.weights.h5", groups)
    with h5py.File(path, "r+") as file:
        file.create_group("layers/sequential/layers/lstm/cell/vars")
    with pytest.raises(ConversionError, match="layer 'sequential' holds other layers"):
        convert.read(path)
