"""Small valid files of every kind that holds arrays, and what they become when somebody damages them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from gatewright import convert
from gatewright.errors import ConversionError, ModelFileError
from gatewright.network import Dense, Network, RecurrentPart


def network() -> Network:
    """A small network that most layouts can hold."""
    import numpy as np

    generator = np.random.default_rng(0)
    shapes = {"W": (2, 3), "U": (2, 2), "b": (2,), "bh": (2,)}
    parameters = {
        f"{kind}.{gate}": generator.standard_normal(shape).astype(np.float32)
        for kind, shape in shapes.items()
        for gate in "rzn"
    }
    weight = generator.standard_normal((2, 2)).astype(np.float32)
    return Network((RecurrentPart(convert.CellConfig("gru", reset="after"), (parameters,)), Dense(weight, weight[0])))


@dataclass(frozen=True)
class Kind:
    """A kind of file: its suffix, the layout that a valid one is written in, and what network that one holds."""

    suffix: str
    layout: str
    network: Callable[[], Network] = network


KINDS: Mapping[str, Kind] = {
    "npz": Kind(".npz", "torch"),
    "safetensors": Kind(".safetensors", "torch"),
    "model": Kind(".safetensors", "gatewright"),
    "pt": Kind(".pt", "torch"),
    "onnx": Kind(".onnx", "onnx"),
    "json": Kind(".json", "rtneural"),
    "json-torch": Kind(".json", "rtneural-torch"),
}


def valid(kind: Kind, folder: Path) -> bytes:
    """The bytes of a valid file."""
    path = folder / f"valid{kind.suffix}"
    convert.write(kind.network(), path, kind.layout)
    return path.read_bytes()


def refusal(path: Path) -> str | None:
    """In which words a file is refused; None where it is read as a network. Any other error is a fault."""
    try:
        found = convert.read(path)
    except (ConversionError, ModelFileError) as error:
        return str(error)
    assert found.recurrent
    return None


Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Something that happens to bytes: cut short, bytes changed, a piece taken out, doubled or overwritten."""
    what = draw(st.sampled_from(("cut", "flip", "remove", "double", "fill", "grow")))
    where = draw(st.floats(0, 1, exclude_max=True))
    length = draw(st.integers(1, 64))
    byte = draw(st.integers(0, 255))
    flips = draw(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))

    def damage(content: bytes) -> bytes:
        start = int(where * len(content))
        piece = content[start : start + length]
        match what:
            case "cut":
                return content[:start]
            case "flip":
                changed = bytearray(content)
                for place, bits in flips:
                    changed[int(place * len(content))] ^= bits
                return bytes(changed)
            case "remove":
                return content[:start] + content[start + length :]
            case "double":
                return content[: start + length] + piece + content[start + length :]
            case "fill":
                return content[:start] + bytes([byte]) * len(piece) + content[start + length :]
            case _:
                return content + bytes([byte]) * length

    return damage
