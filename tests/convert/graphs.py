"""TensorFlow 1 graphs whose every tensor was kept: what went in, what came out, and what was said of the cell."""

import atexit
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.convert import files
from tests.paths import SHARED_WEIGHTS

ARCHIVE = SHARED_WEIGHTS / "tf1-cells-dl4j" / "tf_rnn_cells.tar.gz"
Arrays = dict[str, np.ndarray]
_ACTIVATIONS = {b"Relu": "relu", b"Softsign": "softsign", b"Tanh": "tanh", b"Sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Graph:
    """One graph; sequences are (time, batch, features)."""

    name: str
    arrays: Arrays

    @property
    def facts(self) -> dict[str, Any]:
        """What its weights do not tell: its operations do, and its name, which is wrong about some activations."""
        operations = {node.get(2) for node in nodes(self.name)}
        activation = next((kind for op, kind in _ACTIVATIONS.items() if op in operations), "tanh")
        facts: dict[str, Any] = {"activation": activation}
        if bias := re.search(r"fB(?:ias)?(\d)", self.name):
            facts["forget_bias"] = float(bias[1])
        if clip := re.search(r"clip-(0\.\d)", self.name):
            facts["cell_clip"] = float(clip[1])
        return facts

    @property
    def states(self) -> tuple[str, ...]:
        """In the order in which TensorFlow has them."""
        return ("c", "h") if "lstm" in self.name else ("h",)

    @property
    def batch(self) -> int:
        return int(self._finals.shape[0]) // len(self.states)

    @property
    def inputs(self) -> np.ndarray:
        array = self.arrays["import/in_0"]
        return array if "fused" in self.name or array.shape[1] == self.batch else array.swapaxes(0, 1)

    @property
    def initial(self) -> Arrays:
        """The states before the first step, where they are not zero."""
        return {state: self.arrays[f"import/in_{i}"] for i, state in enumerate(self.states, 1) if self.started}

    @property
    def started(self) -> bool:
        return "import/in_1" in self.arrays

    @property
    def outputs(self) -> np.ndarray:
        if "fused" in self.name:
            return self.arrays["import/lstm_fused_cell/BlockLSTM:6"]
        found = self.arrays["concat"]
        if found.ndim == 2:  # one step below the other
            return found.reshape(-1, self.batch, found.shape[-1])
        return found if found.shape[1] == self.batch else found.swapaxes(0, 1)

    @property
    def finals(self) -> Arrays:
        if "fused" in self.name:
            return {"c": self.arrays["import/lstm_fused_cell/BlockLSTM:1"][-1], "h": self.outputs[-1]}
        return dict(zip(self.states, np.split(self._finals, len(self.states)), strict=True))

    @property
    def _finals(self) -> np.ndarray:
        return self.arrays["concat"] if "fused" in self.name else self.arrays["concat_1"]


@cache
def names() -> tuple[str, ...]:
    """Every graph of the archive, or none where it is not here."""
    if not ARCHIVE.exists():
        return ()
    with tarfile.open(ARCHIVE) as opened:
        return tuple(sorted({"/".join(name.split("/")[:3]) for name in opened.getnames() if name.count("/") >= 3}))


@cache
def folder() -> Path:
    """The archive, unpacked."""
    place = Path(tempfile.mkdtemp(prefix="gatewright-graphs-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    with tarfile.open(ARCHIVE) as opened:
        opened.extractall(place, filter="data")
    return place


@cache
def read(name: str) -> Graph:
    return Graph(name, files.read_arrays(folder() / name))


def nodes(name: str) -> Iterator[dict[int, Any]]:
    """The nodes of a frozen graph: 1 is the name, 2 the operation, 5 the attributes."""
    graph = (folder() / name / "frozen_model.pb").read_bytes()
    for number, node in fields(graph):
        if number == 1:
            yield {**dict(fields(node)), 5: [dict(fields(entry)) for number, entry in fields(node) if number == 5]}


def constants(name: str) -> Arrays:
    """The constants of a frozen graph by name: the tables leave some of them out."""
    found: Arrays = {}
    for node in nodes(name):
        if node.get(2) == b"Const":
            value = next(dict(fields(one[2]))[8] for one in node[5] if one[1] == b"value")
            tensor = dict(fields(value))
            shape = [dict(fields(axis)).get(1, 0) for number, axis in fields(tensor.get(2, b"")) if number == 2]
            if tensor[1] in (1, 2) and 4 in tensor:
                found[node[1].decode()] = np.frombuffer(tensor[4], {1: "<f4", 2: "<f8"}[tensor[1]]).reshape(shape)
    return found


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: numbers, and bytes that may be a message themselves."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = number()
        match key & 7:
            case 0:
                yield key >> 3, number()
            case 2:
                length = number()
                yield key >> 3, message[at : at + length]
                at += length
            case kind:
                length = {1: 8, 5: 4}[kind]
                yield key >> 3, message[at : at + length]
                at += length
