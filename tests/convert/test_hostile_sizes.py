"""Files that say more than they hold: each is refused in words, in a process that cannot have the memory for it."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import pytest
import torch
from numpy.lib import format as npy
from onnx import TensorProto, helper

from tests.convert.onnx_models import HIDDEN, arrays_of, model_of

ROOM = 400 * 2**20
"""What a process may have beyond what it has when it begins to read."""

READ = """
import json, resource, sys
import onnx, torch
from gatewright import convert
from gatewright.errors import ConversionError

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]), used + int(sys.argv[1])))
for path in sys.argv[2:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        convert.read(path)
        said = ""
    except ConversionError as error:
        said = error.problem
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"said": said, "grown": grown // 1024}), flush=True)
"""


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """The beginning of an .npy file."""
    content = io.BytesIO()
    npy.write_array_header_1_0(content, {"descr": descr, "fortran_order": False, "shape": shape})
    return content.getvalue()


def npz(**members: bytes) -> bytes:
    """An .npz of these members, packed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, member in members.items():
            opened.writestr(f"{name}.npy", member)
    return content.getvalue()


def overlapping() -> bytes:
    """An .npz with one member of a megabyte in the file, which its directory names two thousand times."""
    content = npz(a=header((2**18,)) + bytes(2**20))
    start = content.index(b"PK\x01\x02")
    entry, end = content[start : content.index(b"PK\x05\x06")], content[content.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"a.npy", b"%c.npy" % (33 + i % 90)) for i in range(2000))
    return content[:start] + entries + end[:8] + struct.pack("<HHII", 2000, 2000, len(entries), start) + end[20:]


def safetensors(shape: list[int], offsets: list[int], length: int = 16) -> bytes:
    """A .safetensors with one array."""
    said = json.dumps({"weight_ih_l0": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    return struct.pack("<Q", len(said)) + said + bytes(length)


def pt(**tensors: torch.Tensor) -> bytes:
    """A state dict."""
    content = io.BytesIO()
    torch.save(tensors, content)
    return content.getvalue()


def repacked(content: bytes) -> bytes:
    """A .zip with its members packed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as opened, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as written:
        for member in opened.namelist():
            written.writestr(member, opened.read(member))
    return packed.getvalue()


def wide(name: str, dims: list[int]) -> onnx.ModelProto:
    """An operator of which one array says another shape."""
    model = model_of("GRU", arrays_of("GRU", 1))
    tensor = next(one for one in model.graph.initializer if one.name == name)
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return model


def doubling(times: int) -> onnx.ModelProto:
    """A graph that puts an array beside itself, and the result beside itself, again and again."""
    model = model_of("GRU", arrays_of("GRU", 1))
    nodes = [helper.make_node("Concat", [f"W{i or ''}"] * 2, [f"W{i + 1}"], axis=2) for i in range(times)]
    layer = model.graph.node[0]
    layer.input[1] = f"W{times}"
    nodes.append(layer)
    again = helper.make_graph(nodes, "g", model.graph.input, model.graph.output, model.graph.initializer)
    return helper.make_model(again, opset_imports=model.opset_import, ir_version=8)


def filled() -> onnx.ModelProto:
    """A graph whose matrix is one number, as often as one likes."""
    model = model_of("GRU", arrays_of("GRU", 1))
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 3 * HIDDEN, 2**40])
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    layer = model.graph.node.pop()
    layer.input[1] = "endless"
    model.graph.initializer.append(shape)
    model.graph.node.extend([helper.make_node("ConstantOfShape", ["shape"], ["endless"], value=value), layer])
    return model


LARGE = 2**36
FILES: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "npz: a shape beyond its bytes": (".npz", lambda: npz(weight_ih_l0=header((LARGE,)) + bytes(64))),
    "npz: a shape whose product overflows": (".npz", lambda: npz(weight_ih_l0=header((2**62, 2**62)) + bytes(64))),
    "npz: a shape below 0": (".npz", lambda: npz(weight_ih_l0=header((-1, -LARGE)) + bytes(64))),
    "npz: items of many bytes": (".npz", lambda: npz(weight_ih_l0=header((1,), f"|V{2**30}") + bytes(64))),
    "npz: objects": (".npz", lambda: npz(weight_ih_l0=header((1,), "|O") + bytes(64))),
    "npz: zeros packed a thousand times": (".npz", lambda: npz(weight_ih_l0=header((2**22,)) + bytes(2**24))),
    "npz: members over one another": (".npz", overlapping),
    "safetensors: a shape beyond its bytes": (".safetensors", lambda: safetensors([LARGE], [0, 16])),
    "safetensors: offsets beyond its end": (".safetensors", lambda: safetensors([LARGE], [0, 4 * LARGE])),
    "safetensors: a header beyond its end": (".safetensors", lambda: struct.pack("<Q", LARGE) + b"{}"),
    "pt: zeros packed a thousand times": (".pt", lambda: repacked(pt(weight_ih_l0=torch.zeros(2**22)))),
    "pt: one number for millions": (".pt", lambda: pt(weight_ih_l0=torch.zeros(1).expand(2**15, 2**20))),
    "pt: half a number for millions": (".pt", lambda: pt(weight_ih_l0=torch.zeros(1).bfloat16().expand(2**15, 2**20))),
    "pt: an array again and again": (".pt", lambda: pt(**dict.fromkeys(map(str, range(5000)), torch.zeros(2**18)))),
    "onnx: a shape beyond its bytes": (".onnx", lambda: wide("W", [1, 12, LARGE]).SerializeToString()),
    "onnx: a shape whose product overflows": (".onnx", lambda: wide("R", [2**62, 2**62, 4]).SerializeToString()),
    "onnx: a shape below 0": (".onnx", lambda: wide("W", [-1, -12, 3]).SerializeToString()),
    "onnx: an array doubled again and again": (".onnx", lambda: doubling(40).SerializeToString()),
    "onnx: an endless matrix": (".onnx", lambda: filled().SerializeToString()),
    "json: lists in lists": (".json", lambda: b"[" * 2**20),
    "json: one long word and many short ones": (
        ".json",
        lambda: json.dumps({"gru.weight_ih_l0": [["x" * 2**20, *["y"] * 1000]]}).encode(),
    ),
    "json: a number of many digits": (".json", lambda: b'{"layers": [' + b"9" * 2**20 + b"]}"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process, which has little memory, says of all the files in turn, and what each took."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [folder / f"{index}{suffix}" for index, (suffix, _) in enumerate(FILES.values())]
    for path, (_, make) in zip(paths, FILES.values(), strict=True):
        path.write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", READ, str(ROOM), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [{**line, "size": path.stat().st_size} for line, path in zip(lines, paths, strict=True)]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is that of Linux")
@pytest.mark.parametrize("index", range(len(FILES)), ids=list(FILES))
def test_a_file_that_says_more_than_it_holds_is_refused_within_little_memory(
    index: int, told: list[dict[str, Any]]
) -> None:
    found = told[index]
    assert f"{index}." in found["said"] or "weight_ih_l0" in found["said"]
    assert found["grown"] <= 64 + 40 * found["size"] // 2**20  # mebibytes
