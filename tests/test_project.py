"""The rules of the house that a reader of the code may rely on (docs/layout.md states them)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "depthwise"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in SOURCES}

HEAVY = ("tvm", "torch", "matplotlib", "onnxruntime", "plotly", "jinja2")
FAST_PATH = ("define", "plan", "schedule", "build", "kernel", "compiler", "functional", "target")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the tree without the bodies of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from run_time_nodes(child)


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports when it runs, inside functions too."""
    names: set[str] = set()
    for node in run_time_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively: {ast.unparse(node)}"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def importers(package: str) -> set[str]:
    """Return the files under src/depthwise that import a package at run time."""
    return {
        name
        for name, path in MODULES.items()
        if any(imported.split(".")[0] == package for imported in imports(path))
    }


def own_file(dotted: str) -> Path | None:
    """Return the file of the longest prefix of a dotted name that is a module of this package."""
    parts = dotted.split(".")
    while parts and parts[0] == "depthwise":
        path = PACKAGE.joinpath(*parts[1:])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
        parts.pop()
    return None


def reached_from(path: Path) -> set[Path]:
    """Return every file of this package that importing one of them can import."""
    reached: set[Path] = set()
    waiting = [path]
    while waiting:
        for name in imports(waiting.pop()):
            found = own_file(name)
            if found is not None and found != PACKAGE / "__init__.py" and found not in reached:
                reached.add(found)
                waiting.append(found)
    return reached


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


@pytest.mark.parametrize("module", ["depthwise", "depthwise.commands.cli", "depthwise.bench"])
def test_importing_is_light(module):
    loaded = run_python(f"import sys, {module}; print(*sys.modules)").split()
    assert "numpy" in loaded
    assert not set(HEAVY) & set(loaded)


def test_tvm_is_imported_only_where_kernels_are_made():
    allowed = {
        "activations.py",
        "define.py",
        "define_gradient.py",
        "define_pixels.py",
        "build.py",
        "bench/peers/tvm.py",
    }
    found = importers("tvm")
    assert found, "nothing imports TVM: this test has lost its subject"
    assert {name for name in found - allowed if not name.startswith("schedule/")} == set()


def test_torch_is_imported_only_by_its_face_its_peer_and_networks():
    found = importers("torch")
    assert found, "nothing imports torch: this test has lost its subject"
    allowed = ("torch/", "bench/peers/torch", "bench/networks/")
    assert {name for name in found if not name.startswith(allowed)} == set()


def test_the_oracle_shares_nothing_with_the_fast_path():
    reached = reached_from(PACKAGE / "reference.py")
    assert PACKAGE / "spec.py" in reached
    firsts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in reached}
    assert not firsts & set(FAST_PATH)


def test_a_worker_needs_only_numpy_beside_the_standard_library():
    refuse_others = """
import sys
class RefuseOthers:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in sys.stdlib_module_names and root not in ("depthwise", "numpy"):
            raise ModuleNotFoundError(f"a peer's environment has no {root}")
sys.meta_path.insert(0, RefuseOthers())
import depthwise.measure.worker, depthwise.problem.data, depthwise.problem.reference
from depthwise.problem.data import random_problem
print(random_problem("depthwise c8 hw8 k3")[0].shape)
"""
    assert run_python(refuse_others).strip() == "(1, 8, 8, 8)"


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=str)
def test_no_file_is_longer_than_600_lines(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 600


def test_layout_names_every_file_and_no_other():
    layout = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w/]+\.py)` \|", layout, re.MULTILINE)
    assert sorted(named) == sorted(MODULES)


def test_version_is_stated_once_for_all():
    stated = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert stated is not None
    assert run_python("import depthwise; print(depthwise.__version__)").strip() == stated[1]
    assert f"## {stated[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
