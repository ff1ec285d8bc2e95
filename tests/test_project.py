"""The rules of the house that a reader of the code may rely on (docs/layout.md states them)."""

from __future__ import annotations

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "depthwise"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
CODE = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".c", ".sh", ".js", ".css") and path.resolve() == path
)
PROSE = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *MODULES.values()]

HEAVY = ("tvm", "tvm_ffi", "torch", "matplotlib", "onnx", "onnxruntime", "jinja2")
LIGHT = (
    "problem", "machine", "store", "schedule", "kernel", "compiler", "functions",
    "measure", "tuning", "network", "loading", "commands",
)  # fmt: skip
"""The rooms whose modules load nothing heavy before it is needed."""
NEEDS_HEAVY = ("commands/optimize.py", "measure/roofline.py", "tuning/engine.py")
"""But for these, which optimize networks of torch, or compile what they time."""


@pytest.fixture(scope="module")
def graph():
    """Return who imports whom at run time, inside functions too."""
    return grimp.build_graph("depthwise", exclude_type_checking_imports=True, cache_dir=None)


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_contracts_of_imports_are_kept():
    """Those of pyproject.toml: the order of the rooms, and who may import TVM and PyTorch."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_one_another_in_a_circle(graph):
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()


def test_the_oracle_shares_nothing_with_the_fast_path(graph):
    """Beside what a problem is, which is the subject of both."""
    reached = graph.find_upstream_modules("depthwise.problem.reference")
    assert "depthwise.problem.spec" in reached
    allowed = ("depthwise.problem", "depthwise.errors")
    assert {name for name in reached if not name.startswith(allowed)} == set()


def test_importing_the_package_is_light():
    for use, needs in (("", False), ("[getattr(depthwise, n) for n in depthwise.__all__]", True)):
        loaded = run_python(f"import sys, depthwise; {use}\nprint(*sys.modules)").split()
        assert ("numpy" in loaded) == needs
        assert not {*HEAVY, "rich", "typer"} & set(loaded)


def test_importing_every_module_of_most_rooms_is_light():
    names = [
        "depthwise." + name.removesuffix(".py").replace("/", ".")
        for name in MODULES
        if name.split("/")[0].removesuffix(".py") in LIGHT and name not in NEEDS_HEAVY
    ]
    code = f"""
import sys
from importlib import import_module
for name in {names}:
    import_module(name)
    print(name, *{{*{HEAVY}}} & set(sys.modules))
"""
    assert run_python(code).splitlines() == names


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


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_is_longer_than_600_lines(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 600


def test_layout_names_every_file_and_no_other():
    layout = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w/]+\.py)` \|", layout, re.MULTILINE)
    assert sorted(named) == sorted(MODULES)


def test_every_file_that_prose_names_is_there():
    """Named from the root, from the package as docs/layout.md does, or from where it stands."""
    missing = {
        f"{page.relative_to(ROOT)}: {name}"
        for page in PROSE
        for name in re.findall(r"`([\w/]+\.(?:py|c))`", page.read_text(encoding="utf-8"))
        if not any((place / name).is_file() for place in (ROOT, PACKAGE, page.parent))
    }
    assert missing == set()


def test_version_is_stated_once_for_all():
    stated = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert stated is not None
    assert run_python("import depthwise; print(depthwise.__version__)").strip() == stated[1]
    assert f"## {stated[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
