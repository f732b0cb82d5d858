"""Which part of the package may import which, and where a framework may be named."""

import sys

from tests.architecture.imports import Import

# A part may import those on the lines above its own.
ORDER = (
    ("errors",),
    ("axes", "files", "int8", "kernel_cache", "untrusted"),
    ("terminal",),
    ("lang",),
    ("cells",),
    ("trace",),
    ("packing", "cell_config"),
    ("model_file", "threads"),
    ("derive",),
    ("schedule",),
    ("backends",),
    ("drawing",),
    ("network",),
    ("nn",),
    ("convert",),
    ("tasks",),
    ("inspect", "stream", "export"),
    ("look",),
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
# Narrower than the order: cells are equations and nothing else, and streaming needs no framework.
ONLY = {"cells": {"lang", "errors"}}
NEVER = {"stream": {"nn", "tasks"}}
# What backends may share; beyond this they never import each other.
SHARED_BY_BACKENDS = {"base", "coefficients", "decompose", "expressions", "torch_rules"}

ANYWHERE = ("",)
THIRD_PARTY = {
    "numpy": ANYWHERE,
    "llvmlite": ("backends.llvm",),
    "torch": ("backends.torch_eager", "backends.torch_rules", "backends.triton", "nn", "tasks", "inspect", "look"),
    "lightning": ("tasks",),
    "pooch": ("tasks",),
    "filelock": ("tasks",),
    "sklearn": ("tasks",),
    "scipy": ("tasks",),
    "optuna": ("tasks",),
    "sqlalchemy": ("tasks",),
    "joblib": ("tasks",),
    "pandas": ("tasks",),
    "charset_normalizer": ("tasks",),
    "soundfile": ("tasks",),
    "mido": ("tasks",),
    "PIL": ("tasks",),
    "seqeval": ("tasks",),
    "platformdirs": ("tasks", "kernel_cache"),
    "matplotlib": ("inspect",),
    "safetensors": ("convert", "model_file"),
    "typer": ("cli",),
    "rich": ("cli", "tasks", "inspect", "terminal"),
    "onnx": ("backends.onnx",),
    "triton": ("backends.triton",),
    "starlette": ("look",),
    "uvicorn": ("look",),
}
# Inside functions, or for types only, also here.
DEFERRED = dict.fromkeys(("torch", "onnx", "h5py", "keras", "tensorflow"), ("convert",)) | dict.fromkeys(
    ("matplotlib", "ray", "dask", "distributed"), ("tasks",)
)
DEFERRED["onnxruntime"] = ("convert", "export")
# The one name of the package's front that its parts may ask for.
VERSION = "gatewright.__version__"
# Reading these runs whatever code the file holds.
UNPICKLERS = {"pickle", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle"}


def violations(found: Import) -> list[str]:
    """What is wrong with one import; usually nothing."""
    root = found.module.partition(".")[0]
    if root == "gatewright":
        return _within(found)
    if root in UNPICKLERS:
        return [f"{found}, and nothing is ever unpickled"]
    if root in sys.stdlib_module_names:
        return []
    places = THIRD_PARTY.get(root, ()) + (DEFERRED.get(root, ()) if found.deferred else ())
    return [] if any(_is_in(found.importer, place) for place in places) else [_misplaced(found, root)]


def _within(found: Import) -> list[str]:
    importer, imported = _part(found.importer), _part(found.module)
    if not importer or found.module == VERSION:
        return []  # the package's own front loads its parts when they are asked for
    if imported not in RANK or importer not in RANK:
        return [f"{found}, and one of the two has no place in the order"]
    if importer == imported == "backends":
        return _between_backends(found)
    below = RANK[imported] < RANK[importer] and imported not in NEVER.get(importer, ())
    if imported == importer or (below and imported in ONLY.get(importer, {imported})):
        return []
    return [f"{found}, and {importer} may not import {imported}"]


def _between_backends(found: Import) -> list[str]:
    one, other = (_part(module.removeprefix("gatewright.")) for module in (found.importer, found.module))
    allowed = one in {"", other} or other in SHARED_BY_BACKENDS
    return [] if allowed else [f"{found}, and backends never import each other"]


def _part(module: str) -> str:
    """The part of the package that a module belongs to: "nn" of "gatewright.nn.layers"."""
    return module.partition(".")[2].partition(".")[0]


def _is_in(importer: str, place: str) -> bool:
    return not place or f"{importer}.".startswith(f"gatewright.{place}.")


def _misplaced(found: Import, root: str) -> str:
    allowed = THIRD_PARTY.get(root, ()) + tuple(f"a function of {place}" for place in DEFERRED.get(root, ()))
    return f"{found}, which is allowed in {', '.join(allowed) or 'no part of the package'} only"
