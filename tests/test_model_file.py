"""The model file: what goes in comes out, nothing else is ever read, and a fault of the file is said in clear words."""

import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as read_safetensors
from safetensors.numpy import save as write_safetensors
from safetensors.numpy import save_file

from gatewright import cells, model_file
from gatewright.errors import ModelFileError, WriteError
from gatewright.lang import masked, recurrent_dropout, zoneout
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.packing import layout_of
from gatewright.trace import Trace, trace_cell
from tests.paths import subprocess_environment

SIZES = {"input": 3, "hidden": 5}


def record(trace: Trace, name: str = "rnn", **options: Any) -> LayerRecord:
    axes = {"projection": 2, "context": 4, "input_rank": 2, "hidden_rank": 3}
    sizes = {**SIZES, **{axis: axes[axis] for axis in trace.axes() if axis in axes}}
    return LayerRecord(name, trace, sizes, layout_of(trace), **options)


def model(*records: LayerRecord, **changes: Any) -> ModelFile:
    layers = records or (record(trace_cell(cells.gru), num_layers=2, bidirectional=True, dropout=0.1),)
    rng = np.random.default_rng(0)
    shapes = {name: shape for layer in layers for name, shape in layer.tensor_shapes().items()}
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors["out.bias"] = np.arange(4, dtype=np.float64)
    about = {"settings": {"rate": 0.1, "names": ["a", {"b": None}]}, "vocabulary": ("a", "é", "\n"), "seed": 7}
    return ModelFile(tensors, layers, "text", **{**about, "version": "1.2", **changes})


def assert_same(got: ModelFile, want: ModelFile) -> None:
    assert replace(got, tensors={}) == replace(want, tensors={})
    assert set(got.tensors) == set(want.tensors)
    for name, array in want.tensors.items():
        assert got.tensors[name].dtype == array.dtype.newbyteorder("<")
        assert got.tensors[name].shape == array.shape
        assert got.tensors[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def message(path: Path) -> str:
    with pytest.raises(ModelFileError) as raised:
        model_file.load(path)
    return str(raised.value).replace(str(path), "FILE")


def header_of(data: bytes) -> dict[str, Any]:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def rewritten(path: Path, change: Mapping[str, Any], tensors: dict[str, np.ndarray] | None = None) -> None:
    """A file as someone would write it who knows the format, with some fields of the description changed."""
    data = path.read_bytes()
    described = json.loads(header_of(data)["__metadata__"][model_file.KEY]) | change
    described = {key: value for key, value in described.items() if value is not Ellipsis}
    text, kept = json.dumps(described), tensors if tensors is not None else read_safetensors(data)
    checksum = model_file.checksum(text, kept)
    path.write_bytes(write_safetensors(kept, {model_file.KEY: text, model_file.CHECKSUM_KEY: checksum}))


# What goes in comes out.


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_every_cell_comes_back_as_it_was(name: str, path: Path) -> None:
    for cell in (cells.get(name), masked(zoneout(0.25)(recurrent_dropout(0.5)(cells.get(name))))):
        kept = model(record(trace_cell(cell), num_layers=2, bidirectional=True, batch_first=True))
        assert model_file.save(path, kept) == path
        assert_same(model_file.load(path), kept)


def test_several_layers_and_none(path: Path) -> None:
    two = model(record(trace_cell(cells.gru), "encoder.rnn"), record(trace_cell(cells.lstm), "decoder", dropout=1.0))
    model_file.save(path, two)
    assert_same(model_file.load(path), two)
    bare = ModelFile({"weight": np.ones((2, 2), np.float16)}, (), "adding")
    model_file.save(str(path), bare)
    assert_same(model_file.load(str(path)), bare)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i8"])
def test_tensors_of_every_kind_and_layout(dtype: str, path: Path, rng: np.random.Generator) -> None:
    whole = rng.integers(0, 2, size=(4, 6)).astype(dtype)
    tensors = {
        "matrix": whole, "turned": whole.T, "strided": whole[::2, ::3], "fortran": np.asfortranarray(whole),
        "scalar": whole[0, 0].reshape(()), "number": whole[0, 0], "empty": whole[:0],
    }  # fmt: skip
    model_file.save(path, ModelFile(tensors, (), "any"))
    got = model_file.load(path).tensors
    for name, array in tensors.items():
        assert got[name].shape == array.shape
        assert np.array_equal(got[name], array)
        assert got[name].flags.writeable


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(
    settings_=st.dictionaries(st.text(), JSON),
    vocabulary=st.none() | st.lists(st.text(), unique=True).map(tuple),
    seed=st.none() | st.integers(0, 2**63),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_settings_and_vocabulary_come_back(
    settings_: dict[str, Any], vocabulary: tuple[str, ...] | None, seed: int | None, path: Path
) -> None:
    kept = ModelFile({}, (), "text", settings_, vocabulary, seed)
    model_file.save(path, kept)
    assert_same(model_file.load(path), kept)


def test_any_reader_of_safetensors_can_read_the_tensors(path: Path) -> None:
    kept = model()
    model_file.save(path, kept)
    found = read_safetensors(path.read_bytes())
    assert all(np.array_equal(found[name], array) for name, array in kept.tensors.items())


LOADER = """
import sys
from gatewright import model_file
kept = model_file.load(sys.argv[1])
print(kept.layers[0].trace.name, len(kept.layers[0].trace.equations), sorted(m for m in sys.modules if m == "torch"))
"""


def test_a_file_is_read_without_torch_and_without_the_cell_s_code(path: Path) -> None:
    model_file.save(path, model())
    done = subprocess.run(
        [sys.executable, "-c", LOADER, path], env=subprocess_environment(), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == f"gru {len(trace_cell(cells.gru).equations)} []\n"


# Writing.


def test_a_file_is_replaced_in_one_step_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = model(seed=1)
    model_file.save(path, old)
    for name in ("fsync", "replace"):

        def fail(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(WriteError) as raised:
                model_file.save(path, model(seed=2))
        assert str(raised.value) == (
            f"{path} cannot be written: No space left on device\n"
            "  do: see that there is room, or give a path in a folder that can be written to"
        )
        assert_same(model_file.load(path), old)
        assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model_file.save(path, model())
    assert list(path.parent.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs the permissions of POSIX")
def test_a_file_has_the_permissions_of_any_new_file(path: Path) -> None:
    before = os.umask(0o027)
    try:
        model_file.save(path, model())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_folders_are_made_and_a_folder_in_the_way_is_said(path: Path) -> None:
    deep = path.parent / "a" / "b" / "model.safetensors"
    model_file.save(deep, model())
    assert_same(model_file.load(deep), model())
    with pytest.raises(WriteError, match="cannot be written: Is a directory"):
        model_file.save(deep.parent, model())
    with pytest.raises(WriteError, match="cannot be written: Not a directory|cannot be written: File exists"):
        model_file.save(deep / "model.safetensors", model())
    assert sorted(deep.parent.iterdir()) == [deep]


@pytest.mark.parametrize(
    ("settings_", "reason"),
    [
        ({"rate": float("nan")}, "Out of range float values are not JSON compliant"),
        ({"path": Path("x")}, "Object of type PosixPath is not JSON serializable"),
        ({"word": "\ud800"}, "'utf-8' codec can't encode character"),
        ({("a", "b"): 1}, "keys must be str, int, float, bool or None, not tuple"),
    ],
    ids=["nan", "path", "surrogate", "key"],
)
def test_settings_that_cannot_be_kept_are_refused_before_anything_is_written(
    settings_: dict[Any, Any], reason: str, path: Path
) -> None:
    with pytest.raises(ModelFileError) as raised:
        model_file.save(path, model(settings=settings_))
    first, *rest = str(raised.value).split("\n")
    assert first.startswith(f"{path}: the settings cannot be kept: {reason}")
    assert rest == [
        "  expected: texts, finite numbers, truth values, lists, and mappings by texts",
        "  do: leave out what the model does not need to be loaded again",
    ]
    assert not path.exists()


def test_tensors_that_cannot_be_kept_or_do_not_fit_are_refused(path: Path) -> None:
    whole = model()
    odd: dict[str, tuple[Any, str]] = {
        "complex": (np.zeros(2, complex), "an array of complex128"),
        "object": (np.array(["x"], object), "an array of object"),
        "list": ([1.0], "list"),
    }
    for name, (array, got) in odd.items():
        with pytest.raises(ModelFileError) as raised:
            model_file.save(path, replace(whole, tensors={**whole.tensors, name: array}))
        assert str(raised.value) == (
            f"{path}: tensor {name!r} cannot be kept\n  expected: a NumPy array of numbers\n  got: {got}"
        )
    tensors = {**whole.tensors, "rnn.U_l1": np.zeros((15, 4), np.float32)}
    with pytest.raises(ModelFileError) as raised:
        model_file.save(path, replace(whole, tensors=tensors))
    assert str(raised.value) == (
        f"{path}: tensor 'rnn.U_l1' does not fit the equations of layer 'rnn' (gru)\n"
        "  expected: shape (15, 5)\n"
        "  got: shape (15, 4)\n"
        "  do: save the model again from where it was trained"
    )
    assert not path.exists()


# Files that are not what they should be.

UNREADABLE = (
    "FILE cannot be read as a model file\n"
    "  expected: a complete .safetensors file\n"
    "  got: {} bytes that are none\n"
    "  do: copy or download the file again; it may have been cut short"
)
FOREIGN = (
    "FILE is a .safetensors file, but not a model that Gatewright saved\n"
    "  expected: metadata with a description under 'gatewright'\n"
    "  got: {}\n"
    "  do: give a file that `gatewright train` or gatewright.model_file.save wrote"
)


def test_a_file_that_is_not_there(path: Path) -> None:
    assert message(path) == (
        "there is no model file FILE\n"
        "  do: give the path of a model.safetensors, as `gatewright train` leaves it in its output folder"
    )


def test_a_path_that_cannot_be_one() -> None:
    assert message(Path("a\0b")) == "FILE cannot be read: embedded null byte\n  expected: a model file"
    with pytest.raises(WriteError, match="cannot be written: embedded null byte"):
        model_file.save("a\0b", model())


def test_a_device_is_not_read_to_its_end() -> None:
    assert message(Path("/dev/zero")) == "FILE is no file\n  expected: a model file\n  got: a device or pipe"


def test_a_folder(tmp_path: Path) -> None:
    assert message(tmp_path) == "FILE cannot be read: Is a directory\n  expected: a model file"


def test_a_file_that_is_cut_short_anywhere(path: Path) -> None:
    model_file.save(path, model())
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for length in {0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(data) // 2, len(data) - 1}:
        path.write_bytes(data[:length])
        assert message(path) == UNREADABLE.format(length)
    path.write_bytes(data + b"\0")
    assert message(path) == UNREADABLE.format(len(data) + 1)


@pytest.mark.parametrize(
    "data",
    [
        b"not a model at all",
        b"\x80\x04\x95pickle" * 9,
        b"PK\x03\x04" + bytes(40),
        struct.pack("<Q", 2**63 - 1) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 100_000_001) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a":1}}',
        struct.pack("<Q", 6) + b"\xff\xfe{}\0\0",
        struct.pack("<Q", 30_000) + b"[" * 30_000,
    ],
    ids=["text", "pickle", "zip", "huge", "huger", "over the limit", "list", "two ends", "not utf-8", "deep"],
)
def test_garbage(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    assert message(path) == UNREADABLE.format(len(data))


def test_overlapping_and_impossible_tensors(path: Path) -> None:
    for entry in (
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "XYZ", "shape": [2], "data_offsets": [0, 8]},
    ):
        text = json.dumps({"a": entry}).encode()
        data = struct.pack("<Q", len(text)) + text + bytes(8)
        path.write_bytes(data)
        assert message(path) == UNREADABLE.format(len(data))


def test_files_that_others_wrote(path: Path) -> None:
    tensors = {"weight": np.ones(3, np.float32)}
    save_file(tensors, path)
    assert message(path) == FOREIGN.format("no metadata")
    save_file(tensors, path, {"format": "pt", "gatewright": "hello"})
    assert message(path) in {FOREIGN.format("'format', 'gatewright'"), FOREIGN.format("'gatewright', 'format'")}
    for text in ("[1]", '{"format": "other"}', "[" * 100_000, '{"format": ' + "9" * 5000 + "}"):
        save_file(tensors, path, {"gatewright": text})
        assert message(path) == FOREIGN.format("'gatewright'")


def test_a_later_format(path: Path) -> None:
    model_file.save(path, model())
    rewritten(path, {"format_version": 3, "version": "9.0", "layers": "something new"})
    assert message(path) == (
        "FILE has a format that this version does not know\n"
        "  expected: format 1 or 2\n"
        "  got: format 3, written by gatewright 9.0\n"
        "  do: install a newer gatewright: pip install --upgrade gatewright"
    )


def test_numbers_that_were_changed(path: Path) -> None:
    model_file.save(path, model())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    text = message(path)
    assert text.startswith("FILE is damaged: it is not as it was saved\n  expected: contents of SHA-256 ")
    assert text.endswith("  do: copy or download the file again")


def test_a_checksum_that_is_missing(path: Path) -> None:
    model_file.save(path, model())
    data = path.read_bytes()
    text = header_of(data)["__metadata__"][model_file.KEY]
    path.write_bytes(write_safetensors(read_safetensors(data), {model_file.KEY: text}))
    assert message(path).startswith("FILE is damaged: it is not as it was saved\n  expected: contents of SHA-256 None")


LAYER = {
    "name": "rnn", "trace": ..., "sizes": {"input": 3, "hidden": 5}, "layout": ..., "num_layers": 1,
    "bidirectional": False, "batch_first": False, "dropout": 0.0, "dropout_per": "step", "starts": {},
}  # fmt: skip
EMPTY_TRACE = 'gatewright-trace 1\ncell "x"\nend\n'
SCALAR = 'gatewright-trace 1\ncell "x"\ninput x(input)\nstate h()\nnext h = h\nend\n'
GRADIENT = 'gatewright-trace 1\ncell "x"\ninput x(input)\nstate h(hidden)\nnext h = h\nemit e = h\nend\n'
IDENTITY = 'gatewright-trace 1\ncell "x"\ninput x(input)\nstate h(hidden)\nnext h = h\nend\n'


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layers": ...}, "layers is missing"),
        ({"layers": {}}, "layers is no list"),
        ({"layers": [3]}, "layer 0 is no dict"),
        ({"task": 3}, "task is no str"),
        ({"task": ...}, "task is missing"),
        ({"settings": []}, "settings is no dict"),
        ({"vocabulary": "abc"}, "vocabulary is no list"),
        ({"vocabulary": ["a", 1]}, "vocabulary is no str"),
        ({"seed": 1.5}, "seed is no int"),
        ({"seed": True}, "seed is no int"),
        ({"version": None}, "version is missing"),
        ({"num_layers": 0}, "layer 0: num_layers is 0"),
        ({"num_layers": 10**12}, "layer 0: num_layers is 1000000000000"),
        ({"num_layers": True}, "layer 0: num_layers is no int"),
        ({"dropout": 2}, "layer 0: dropout is 2.0"),
        ({"dropout": float("nan")}, "layer 0: dropout is nan"),
        ({"dropout": 10**400}, "layer 0: dropout is no float"),
        ({"dropout_per": "row"}, "layer 0: dropout_per is 'row'"),
        ({"starts": [1.0]}, "layer 0: starts is no dict"),
        ({"starts": {"b.h": "1"}}, "layer 0: the start of b.h is no float"),
        ({"starts": {"b.f": 1.0}}, "layer 0: what has a start is no parameter"),
        ({"starts": {"b.h": float("inf")}}, "layer 0: a start is not finite"),
        ({"bidirectional": 1}, "layer 0: bidirectional is no bool"),
        ({"batch_first": "no"}, "layer 0: batch_first is no bool"),
        ({"name": None}, "layer 0: name is missing"),
        ({"sizes": {"input": 3}}, "layer 0: the size of the input or of the state is missing"),
        ({"sizes": {"input": 3, "hidden": -5}}, "layer 0: a size is not positive"),
        ({"sizes": {"input": 3, "hidden": 5.0}}, "layer 0: the size of hidden is no int"),
        ({"layout": []}, "layer 0: the layout does not name the parameters of the equations"),
        ({"layout": [["W", []]]}, "layer 0: the layout does not name the parameters of the equations"),
        ({"layout": [["W"]]}, "layer 0: an entry of the layout is no pair"),
        ({"layout": [["all", ["W.h", "U.h", "b.h"]]]}, "layer 0: all cannot be packed"),
        ({"layout": [["W", ["W.h"]], ["W", ["U.h"]], ["b", ["b.h"]]]}, "layer 0: two packed arrays have one name"),
        ({"layout": [["W", ["W.h", "W.h"]], ["U", ["U.h"]], ["b", ["b.h"]]]}, "layer 0: W cannot be packed"),
        ({"layout": [["W", ["W.h"]], ["U", ["U.h"]], ["b", ["b.h"]], ["x", []]]}, "layer 0: x cannot be packed"),
        ({"trace": ""}, "layer 0: trace text, line 1: this is no trace that this version of Gatewright can read"),
        ({"trace": EMPTY_TRACE}, "layer 0: its equations have no input or no state"),
        ({"trace": SCALAR}, "layer 0: a state of its equations is no vector"),
        ({"trace": GRADIENT}, "layer 0: its equations are those of a gradient"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:60],
)
def test_a_description_that_makes_no_sense(change: dict[str, Any], reason: str, path: Path) -> None:
    model_file.save(path, model(record(trace_cell(cells.elman))))
    described = json.loads(header_of(path.read_bytes())["__metadata__"][model_file.KEY])
    if set(change) <= set(LAYER):
        change = {"layers": [described["layers"][0] | change]}
    rewritten(path, change)
    first, *rest = message(path).split("\n")
    assert first.startswith(f"the description in FILE makes no sense: {reason}")
    assert rest[-2:] == [
        "  expected: a description as it was saved",
        "  do: save the model again from where it was trained",
    ]


def test_two_layers_of_one_name(path: Path) -> None:
    model_file.save(path, model(record(trace_cell(cells.elman))))
    described = json.loads(header_of(path.read_bytes())["__metadata__"][model_file.KEY])
    rewritten(path, {"layers": described["layers"] * 2})
    assert "two layers have one name" in message(path)


def test_a_size_that_the_equations_need_and_the_file_lacks(path: Path) -> None:
    model_file.save(path, model(record(trace_cell(cells.scrn))))
    described = json.loads(header_of(path.read_bytes())["__metadata__"][model_file.KEY])
    rewritten(path, {"layers": [described["layers"][0] | {"sizes": SIZES}]})
    assert message(path).startswith(
        "the description in FILE makes no sense: layer 0: the size of axis 'context' is not known"
    )


def test_tensors_that_are_missing_or_of_a_wrong_shape(path: Path) -> None:
    kept = model(record(trace_cell(cells.elman)))
    model_file.save(path, kept)
    tensors = {name: array for name, array in kept.tensors.items() if name != "rnn.U_l0"}
    rewritten(path, {}, tensors)
    assert message(path) == (
        "FILE: tensor 'rnn.U_l0' does not fit the equations of layer 'rnn' (elman)\n"
        "  expected: shape (5, 5)\n"
        "  got: no such tensor\n"
        "  do: save the model again from where it was trained"
    )
    rewritten(path, {}, {**tensors, "rnn.U_l0": np.zeros((5, 4), np.float32)})
    assert "got: shape (5, 4)" in message(path)


def test_a_cell_without_parameters_may_have_many_layers_and_not_too_many(path: Path) -> None:
    kept = model()
    model_file.save(path, kept)
    layer = {**LAYER, "trace": IDENTITY, "layout": [], "num_layers": 10_000}
    rewritten(path, {"layers": [layer]})
    assert model_file.load(path).layers[0].num_layers == 10_000
    rewritten(path, {"layers": [{**layer, "num_layers": 10_001}]})
    assert "num_layers is 10001" in message(path)


# Any damage at all.


def damaged(data: bytearray, chance: random.Random) -> None:
    """Change, take out or put in some bytes, in the description more often than in the numbers."""
    header = 8 + int.from_bytes(data[:8], "little")
    place = chance.randrange(min(header, len(data)) if chance.random() < 0.7 else len(data))
    match chance.randrange(4):
        case 0:
            data[place] ^= 1 << chance.randrange(8)
        case 1:
            data[place] = chance.randrange(256)
        case 2:
            del data[place : place + chance.randrange(1, 9)]
        case _:
            data[place:place] = chance.choice([b" ", b"0", b'"', b"{}", b"\\", bytes(3)])


@given(chance=st.randoms(use_true_random=False), count=st.integers(1, 5))
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_to_the_bytes_a_file_is_read_as_it_was_or_refused(
    chance: random.Random, count: int, path: Path
) -> None:
    kept = model(record(trace_cell(cells.elman)))
    model_file.save(path, kept)
    data = bytearray(path.read_bytes())
    for _ in range(count):
        damaged(data, chance)
    path.write_bytes(bytes(data))
    found = loaded_or_refusal(path)
    if isinstance(found, ModelFile):
        assert_same(found, kept)
    else:
        assert str(path) in found


def loaded_or_refusal(path: Path) -> ModelFile | str:
    try:
        return model_file.load(path)
    except ModelFileError as error:
        return str(error)


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    model = ModelFile(tensors={"a": np.arange(3.0), "b": np.ones((2, 2), np.float32)}, layers=(), task="t")
    contents = {model_file.save(tmp_path / f"{number}.safetensors", model).read_bytes() for number in range(8)}
    assert len(contents) == 1
