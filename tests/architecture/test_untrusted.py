"""JSON and archives from elsewhere are read by the readers that keep them within bounds."""

import ast
from collections.abc import Iterator

from tests.paths import ROOT, package_files

BOUNDED = {"json.load": "parse_json", "json.loads": "parse_json", "tarfile.open": "tar_members"}
ALLOWED = {
    "src/gatewright/untrusted/json_text.py": "it keeps the bounds",
    "src/gatewright/model_file/__init__.py": "safetensors has read that JSON before, with bounds of its own",
    "src/gatewright/nn/graphs/custom_ops.py": "a key that this process made",
    "src/gatewright/schedule/serialized.py": "the cache has checked that it is whole, and that this user wrote it",
    "src/gatewright/trace/parse.py": "one text between quotation marks",
}


def unbounded(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in BOUNDED:
            yield f"line {node.lineno}: {called}, where {BOUNDED[called]} keeps within bounds"


def test_no_file_reads_json_or_archives_without_bounds() -> None:
    found = {str(path.relative_to(ROOT)): list(unbounded(path.read_text(encoding="utf-8"))) for path in package_files()}
    assert {file: calls for file, calls in found.items() if calls and file not in ALLOWED} == {}
    assert all(found[file] for file in ALLOWED)


def test_a_call_is_found() -> None:
    assert list(unbounded("import json\nx = json.loads(text)\n"))
