"""The measurements: each a function of the folder of RTNeural, if there is one, that gives a section of the result."""

import json
import math
import subprocess
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import gatewright as gw
from benchmarks import machine
from benchmarks.setup import tell
from gatewright.export.c_reading import loss, run
from gatewright.tasks import recipes
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.session import train

HERE = Path(__file__).parent
KINDS = {"LSTM": "lstm", "GRU": "gru(reset=after)"}
SIZES = (8, 16, 24, 32, 40, 64)
TURNS, STEPS, ROUNDS = 10, 2000, 9
VECTORS = ("-O3", "-march=x86-64-v3", "-ffp-contract=fast")
OURS = {
    "C, libm, gcc -O3, AVX2": ("libm", "gcc", *VECTORS),
    "C, gcc -O2": ("own", "gcc", "-O2"),
    "C, gcc -O3, AVX2": ("own", "gcc", *VECTORS),
    "C, clang -O3, AVX2": ("own", "clang", *VECTORS),
}
RTNEURAL = {
    "RTNeural, xsimd, g++ -O3, AVX2": ("-DRTNEURAL_USE_XSIMD=1", "modules/xsimd/include"),
    "RTNeural, Eigen, g++ -O3, AVX2": ("-DRTNEURAL_USE_EIGEN=1", "modules/Eigen"),
}
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-Os")
Record = dict[str, Any]


def model_of(kind: str, hidden: int) -> Model:
    """One input, a recurrent layer and a dense layer to one output, with weights drawn from a seed."""
    torch.manual_seed(hidden)
    recipe = recipes.get("digits").configured([f"cell={KINDS[kind]}", f"hidden={hidden}"])
    sizes = Sizes(1, 1)
    return Model(recipe, sizes, recipe.network(sizes, read_cell(recipe.cell)).eval())


def speed(rtneural: Path | None) -> Record:
    """The seconds of a step of each size, all programs in turn."""
    described = machine.description()
    rows = [_speed_of(kind, hidden, rtneural) for kind in KINDS for hidden in SIZES]
    wanted = ("date", "processor", "system")
    compilers = {name: _said(name, "--version").splitlines()[0] for name in ("gcc", "clang")}
    commit = _commit(rtneural) if rtneural else None
    return {"machine": {key: described[key] for key in wanted}, "compilers": compilers, "commit": commit, "rows": rows}


def _speed_of(kind: str, hidden: int, rtneural: Path | None) -> Record:
    model = model_of(kind, hidden)
    with TemporaryDirectory() as name:
        folder = Path(name)
        programs: dict[str, tuple[object, ...]] = {}
        for label, (math_, *flags) in OURS.items():
            files = gw.export.c99(model, folder / math_ / "model.c", math=math_)
            programs[label] = (_compiled(files.source, folder / str(len(programs)), *flags),)
        if rtneural:
            (folder / "weights.json").write_text(json.dumps(_torch_weights(model)))
            for label, (define, include) in RTNEURAL.items():
                program = _rtneural(rtneural, kind, hidden, define, include, folder / str(len(programs)))
                programs[label] = (program, str(folder / "weights.json"))
        seconds: dict[str, list[float]] = {label: [] for label in programs}
        for _ in range(ROUNDS):
            for label, command in programs.items():
                *outputs, last = map(float, _said(*map(str, command)).split())
                _require_equal(label, outputs, model)
                seconds[label].append(last)
    medians = {label: float(f"{median(values):.4g}") for label, values in seconds.items()}
    tell(f"{kind} {hidden}: " + ", ".join(f"{label} {value * 1e9:.0f}" for label, value in medians.items()) + " ns")
    return {"kind": kind, "hidden": hidden, "seconds": medians}


def _compiled(source: Path, program: Path, compiler: str, *flags: str) -> Path:
    defined = [
        "-DNAME=model",
        '-DHEADER="model.h"',
        f"-DTURNS={TURNS}",
        f"-DSTEPS={STEPS}",
        "-D_POSIX_C_SOURCE=200809L",
    ]
    command = [
        compiler,
        "-std=c99",
        *flags,
        *defined,
        f"-I{source.parent}",
        source,
        HERE / "timed.c",
        "-o",
        program,
        "-lm",
    ]
    subprocess.run(command, check=True)
    return program


def _rtneural(folder: Path, kind: str, hidden: int, define: str, include: str, program: Path) -> Path:
    defined = [define, "-DRTNEURAL_NAMESPACE=RTNeural", "-DRTNEURAL_DEFAULT_ALIGNMENT=32", f"-DKIND={kind}"]
    sized = [f"-DHIDDEN={hidden}", f"-DTURNS={TURNS}", f"-DSTEPS={STEPS}"]
    paths = [f"-I{folder}", f"-I{folder / 'modules/json'}", f"-I{folder / include}"]
    command = ["g++", "-std=c++17", *VECTORS, *defined, *sized, *paths, HERE / "rtneural.cpp", "-o", program]
    subprocess.run(command, check=True)
    return program


def _torch_weights(model: Model) -> dict[str, Any]:
    """The weights as torch.nn names and packs them."""
    state = {name: one.numpy() for name, one in model.network.state_dict().items()}
    bias, hidden = state["recurrent.b_l0"], state["recurrent.U_l0"].shape[1]
    gates = len(state["recurrent.U_l0"]) // hidden
    own = np.zeros(gates * hidden, np.float32)
    own[gates * hidden - hidden :] = bias[gates * hidden :] if len(bias) > gates * hidden else 0  # of GRU's candidate
    named = {
        "recurrent.weight_ih_l0": state["recurrent.W_l0"],
        "recurrent.weight_hh_l0": state["recurrent.U_l0"],
        "recurrent.bias_ih_l0": bias[: gates * hidden],
        "recurrent.bias_hh_l0": own,
        "head.weight": state["output.weight"],
        "head.bias": state["output.bias"],
    }
    return {name: one.tolist() for name, one in named.items()}


def _require_equal(label: str, outputs: list[float], model: Model) -> None:
    inputs = torch.tensor([[[0.1 * (t - 10)]] for t in range(20)])
    with torch.no_grad():
        hidden, _ = model.network.recurrent(inputs)
        want = model.network.output(hidden)[:, 0, 0].numpy()
    off = np.abs(np.asarray(outputs) - want).max()
    if off > 1e-5:
        raise ValueError(f"{label} computes something else: it is off by {off}")


def _commit(folder: Path) -> str:
    return _said("git", "-C", str(folder), "rev-parse", "HEAD").strip()[:12]


def size(_: Path | None) -> Record:
    """The bytes of each section when compiled for a Cortex-M4, and the stack of a step."""
    rows: list[Record] = []
    for kind in KINDS:
        for hidden in SIZES:
            row: Record = {"kind": kind, "hidden": hidden}
            for weights in ("float32", "int8"):
                with TemporaryDirectory() as folder:
                    files = gw.export.c99(model_of(kind, hidden), Path(folder) / "model.c", weights=weights)
                    row[weights] = {**_sections(files.source), "constants": files.constant_bytes}
                    row["state"] = files.state_bytes
            rows.append(row)
    return {
        "compiler": _said("arm-none-eabi-gcc", "--version").splitlines()[0],
        "flags": " ".join(CORTEX_M4),
        "rows": rows,
    }


def _sections(source: Path) -> Record:
    binary = source.with_suffix(".o")
    command = ["arm-none-eabi-gcc", "-std=c99", *CORTEX_M4, "-fstack-usage", "-c", source, "-o", binary]
    subprocess.run(command, check=True)
    text, data, bss, *_ = map(int, _said("arm-none-eabi-size", str(binary)).splitlines()[1].split()[:3])
    lines = source.with_suffix(".su").read_text().splitlines()
    stack = sum(int(line.split("\t")[1]) for line in lines if not line.split("\t")[0].endswith("_reset"))
    return {"text": text, "data": data, "bss": bss, "stack": stack}


def int8(_: Path | None) -> Record:
    """What weights of eight bits cost trained models, on data that they were not trained on."""
    return {"rows": [_cost(name) for name in ("digits", "text")]}


def _cost(name: str) -> Record:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        train(recipes.get(name).configured([], quick=True), out=out)
        model = load_model(out)
        data = model.recipe.data(model.source)
        batches = data.parts[data.measured[-1]]
        batch = batches.batch(0, 0)
        inputs, targets = np.asarray(batch.inputs), np.asarray(batch.targets)
        exact = gw.export.c99(out, Path(folder) / "exact.c", name="model")
        coarse = gw.export.c99(out, Path(folder) / "coarse.c", name="model", weights="int8", sample=inputs)
    found = loss(exact.stack, coarse.stack, inputs)
    scores = {kind: _score(run(files.stack, inputs), targets) for kind, files in (("float32", exact), ("int8", coarse))}
    return {
        "recipe": name,
        "metric": "bits a symbol" if targets.ndim > 1 else "accuracy",
        "scores": scores,
        "share": found.rms / found.outputs_rms,
        "largest": found.largest,
        "same": found.same_largest,
        "constants": {"float32": exact.constant_bytes, "int8": coarse.constant_bytes},
    }


def _score(outputs: Any, targets: Any) -> float:
    """The share of right answers after the last step, or the bits that each next symbol takes."""
    if targets.ndim == 1:
        return float(np.mean(outputs[-1].argmax(-1) == targets))
    largest = outputs.max(-1, keepdims=True)
    logs = outputs - largest - np.log(np.exp(outputs - largest).sum(-1, keepdims=True))
    return float(-np.take_along_axis(logs, targets[..., None], -1).mean() / math.log(2))


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
