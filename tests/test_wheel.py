"""The wheel: it has every file of the package, and its modules import without the sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT_FROM = (".gitignore", "LICENSE", "README.md", "hatch_build.py", "pyproject.toml", "src")
OTHER_ENGINES = ("ai_edge_litert", "jax", "mxnet", "openvino", "tensorflow")
"""Packages of the peers that live in environments of their own (`depthwise peers`)."""

IMPORT_ALL = f"""
import sys
sys.path[:] = [sys.argv[1], *(place for place in sys.path if place), *sys.argv[2:]]
from importlib import import_module
from pkgutil import walk_packages
import depthwise
for module in walk_packages(depthwise.__path__, "depthwise."):
    try:
        if module.name != "depthwise.__main__":
            import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in {OTHER_ENGINES}:
            raise
        print(module.name, "needs", error.name)
    else:
        print(module.name)
own = [m.__file__ for name, m in sys.modules.items() if name.partition(".")[0] == "depthwise"]
assert all(file.startswith(sys.argv[1]) for file in own), own
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the sources without what was compiled from them."""
    copy = tmp_path_factory.mktemp("copy")
    compiled = shutil.ignore_patterns("*.so", "__pycache__")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=compiled)
        else:
            shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(copy, tmp_path_factory):
    """Return the folder of the unpacked wheel of that copy."""
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    done = subprocess.run(
        [*command, "--directory", built], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = built.glob("depthwise-*.whl")
    shutil.unpack_archive(archive, unpacked, "zip")
    return unpacked


def files(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_it_has_every_file_of_the_package_and_the_compiled_team(copy, wheel):
    packed = files(wheel / "depthwise")
    assert packed == files(copy / "src" / "depthwise")
    assert Path("py.typed") in packed
    assert Path("machine", f"_team{EXTENSION_SUFFIXES[0]}") in packed


def test_every_module_imports_without_the_sources(wheel):
    """In a process that sees the wheel and what is installed, but not where this package lies."""
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, wheel, *installed]
    done = subprocess.run(
        command, cwd=wheel, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    modules = {line.split()[0] for line in done.stdout.splitlines()}
    assert {"depthwise.compiler", "depthwise.machine._team", "depthwise.torch"} <= modules
