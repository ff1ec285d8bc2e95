"""Engines in environments of their own: installed whole or not at all, and found again."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from depthwise.errors import PeerError
from depthwise.measure import environments
from depthwise.measure.catalogue import SOURCES, Environment, Source


def wheel(folder: Path, body: str) -> Path:
    """Write a wheel of one module, `tiny`, and return its path."""
    file = folder / "tiny-1.5-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.5\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny.py", body)
        archive.writestr("tiny-1.5.dist-info/METADATA", metadata)
        archive.writestr("tiny-1.5.dist-info/WHEEL", kind)
        archive.writestr("tiny-1.5.dist-info/RECORD", "")
    return file


@pytest.fixture
def root(tmp_path, monkeypatch):
    folder = tmp_path / "peers"
    monkeypatch.setenv("DEPTHWISE_PEERS", str(folder))
    return folder


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Return a function that adds the engine "tiny" to the catalogue."""

    def add(body="", **fields):
        pins = fields.pop("pins", (str(wheel(tmp_path, body)),))
        environment = Environment("tiny", pins=pins, check="import tiny", **fields)
        monkeypatch.setitem(SOURCES, "tiny", Source("tiny", "tiny", environment))

    return add


def left_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.suffix != ".lock")


def test_an_engine_is_installed_found_and_not_installed_twice(root, offer):
    offer("answer = 42")
    assert environments.installed_version("tiny") is None
    lines: list[str] = []
    environments.install("tiny", lines.append)
    assert "tiny: making a virtual environment" in lines
    assert left_in(root) == ["tiny"]
    assert environments.installed_version("tiny") == "1.5"

    python = environments.interpreter("tiny")
    assert python.is_relative_to(root)
    program = "import tiny, sys; print(tiny.answer, sys.prefix)"
    output = subprocess.check_output([python, "-c", program], text=True)
    assert output.split() == ["42", str(root / "tiny")]

    lines.clear()
    environments.install("tiny", lines.append)
    assert lines == [f"tiny: already installed in {root / 'tiny'}"]


def test_what_does_not_import_is_not_installed(root, offer):
    offer("raise ImportError('a part is missing')")
    with pytest.raises(PeerError, match=r"(?s)import tiny failed \(1\).*a part is missing"):
        environments.install("tiny", [].append)
    assert left_in(root) == []
    assert environments.installed_version("tiny") is None


@pytest.mark.parametrize(
    "cause", [KeyboardInterrupt, PeerError("no network"), OSError("disk full")]
)
def test_an_interrupted_installation_leaves_the_one_before(root, offer, monkeypatch, cause):
    before = root / "tiny"
    before.mkdir(parents=True)
    (before / "kept").touch()
    offer()

    def interrupted(command, report):
        (root / "tiny.building" / "half").mkdir(parents=True)
        raise cause

    monkeypatch.setattr(environments, "_command", interrupted)
    with pytest.raises(cause if isinstance(cause, type) else type(cause)):
        environments.install("tiny", [].append)
    assert left_in(root) == ["tiny"]
    assert (before / "kept").exists()


def test_what_an_installation_killed_midway_left_behind_is_cleared(root, offer, monkeypatch):
    def make_folder(command, report):
        (root / "tiny.building").mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "_command", make_folder)
    (root / "tiny.building" / "half").mkdir(parents=True)
    offer()
    environments.install("tiny", [].append)
    assert left_in(root) == ["tiny"]
    assert left_in(root / "tiny") == [environments.PINS_FILE]


def test_a_failing_command_repeats_the_end_of_what_it_said():
    lines: list[str] = []
    program = "print(*range(20), sep='\\n'); raise SystemExit(3)"
    with pytest.raises(PeerError, match=r"failed \(3\):\n  12\n  13\n(.*\n)+  19$"):
        environments._command([sys.executable, "-c", program], lines.append)
    assert lines == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"newest_python": (3, 9)}, r"Python 3\.9 or older"),
        ({"oldest_python": (3, 98)}, r"Python 3\.98 or newer"),
    ],
)
def test_a_python_without_wheels_is_refused_before_anything_is_downloaded(
    root, offer, fields, needs
):
    offer(**fields)
    here = rf"{sys.version_info[0]}\.{sys.version_info[1]}"
    with pytest.raises(PeerError, match=rf"^tiny needs {needs}, .*; this is Python {here}$"):
        environments.install("tiny", [].append)
    assert not root.exists()


def test_a_missing_system_library_is_named_with_its_package(root, offer):
    offer(libraries={"libc.so.6": "libc6", "libnothing.so.7": "libnothing7"})
    expected = r"needs libnothing.so.7 of the system; .*: apt-get install libnothing7$"
    with pytest.raises(PeerError, match=expected):
        environments.install("tiny", [].append)
    assert not root.exists()


def test_mxnet_says_which_python_and_which_libraries_it_needs():
    environment = SOURCES["mxnet"].environment
    assert environment.newest_python == (3, 11)
    assert environment.libraries == {"libquadmath.so.0": "libquadmath0", "libgomp.so.1": "libgomp1"}


def test_engines_of_the_default_set_live_in_this_environment():
    for name in ("depthwise", "tvm", "torch", "onnxruntime"):
        assert environments.interpreter(name) == Path(sys.executable)
        assert environments.installed_version(name)
        assert environments.variables(name) == {}
        with pytest.raises(PeerError, match=rf"{name} lives in this environment: pip install"):
            environments.install(name, print)


def test_an_engine_that_is_not_installed_names_the_command(root):
    with pytest.raises(
        PeerError, match=r"mxnet is not installed.*: depthwise peers install mxnet$"
    ):
        environments.interpreter("mxnet")


def test_an_unknown_engine_is_refused_with_those_that_there_are():
    with pytest.raises(PeerError, match=r"an engine is one of depthwise, tvm, .*; got 'nothing'"):
        environments.install("nothing", print)


class OneDnn:
    """A library that says which version it is."""

    def __init__(self):
        def dnnl_version():
            return ctypes.pointer((ctypes.c_int * 3)(3, 2, 1))

        self.dnnl_version = dnnl_version


def test_a_library_of_the_system_does_instead_of_an_environment(root, offer, monkeypatch):
    monkeypatch.setattr(
        environments.ctypes.util, "find_library", {"dnnl": "libdnnl.so.3"}.__getitem__
    )
    monkeypatch.setattr(environments.ctypes, "CDLL", lambda _: OneDnn())
    assert environments.installed_version("onednn") == "3.2.1"
    assert environments.interpreter("onednn") == Path(sys.executable)
    lines: list[str] = []
    environments.install("onednn", lines.append)
    assert lines == ["onednn: the system has libdnnl.so.3, nothing to install"]
    assert not root.exists()


def test_engines_may_share_an_environment():
    assert SOURCES["litert"].environment is SOURCES["tensorflow"].environment


def test_the_folder_is_chosen_by_the_environment_or_the_users_data_folder(monkeypatch):
    monkeypatch.setenv("DEPTHWISE_PEERS", "~/elsewhere")
    assert environments.root() == Path.home() / "elsewhere"
    monkeypatch.delenv("DEPTHWISE_PEERS")
    assert environments.root().parts[-2:] == ("depthwise", "peers")
