"""Peer engines in virtual environments of their own: where they are, and how they get there."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from filelock import FileLock
from platformdirs import user_data_path

from depthwise.errors import PeerError, installs
from depthwise.measure.catalogue import SOURCES, Environment, Source, onednn_version
from depthwise.problem.values import meant
from depthwise.version import __version__

Report = Callable[[str], None]
"""Told what is being done, a line at a time."""

PINS_FILE = "depthwise-pins.txt"
LAST_LINES = 8
"""Lines of a failed command's output that its error repeats."""


def root() -> Path:
    """Return the folder that holds the environments: DEPTHWISE_PEERS, or the user's data folder."""
    if chosen := os.environ.get("DEPTHWISE_PEERS"):
        return Path(chosen).expanduser().absolute()
    return user_data_path("depthwise") / "peers"


def source(name: str) -> Source:
    """Return where an engine comes from.

    Raises:
        PeerError: there is no engine of this name.
    """
    if name not in SOURCES:
        got = f"{name!r}{meant(name, SOURCES)}"
        raise PeerError(f"an engine is one of {', '.join(SOURCES)}; got {got}")
    return SOURCES[name]


def install_command(name: str) -> str:
    """Return the command that installs an engine."""
    if source(name).environment is None:
        return installs("bench")
    return f"depthwise peers install {name}"


def interpreter(name: str) -> Path:
    """Return the Python in whose environment an engine is installed.

    A module path (with a dot) is an engine of the caller's own, in this environment.

    Raises:
        PeerError: the engine is not installed; the message names the command that installs it.
    """
    if "." in name:
        return Path(sys.executable)
    if installed_version(name) is None:
        raise PeerError(f"{name} is not installed; this installs it: {install_command(name)}")
    origin = source(name)
    if origin.environment is None or _system_library(origin):
        return Path(sys.executable)
    return _python(root() / origin.environment.name)


def variables(name: str) -> dict[str, str]:
    """Return the environment variables that an engine's workers run with."""
    environment = SOURCES[name].environment if name in SOURCES else None
    return environment.variables if environment is not None else {}


def installed_version(name: str) -> str | None:
    """Return the version of an engine, or None where it is missing.

    It is what the engine's library says where `Source.library` names one, else what its package
    states.
    """
    origin = source(name)
    if name == "depthwise":
        return __version__
    if origin.library:
        return _library_version(origin)
    path = sys.path
    if origin.environment is not None:
        site_packages = (root() / origin.environment.name).glob("lib/python*/site-packages")
        path = [str(folder) for folder in site_packages]
    found = importlib.metadata.distributions(name=origin.distribution, path=path)
    return next((distribution.version for distribution in found), None)


def _library_version(origin: Source) -> str | None:
    """Return what an engine's library says, the system's before the one in its environment."""
    assert origin.environment is not None
    place = root() / origin.environment.name / origin.library
    try:
        library = ctypes.CDLL(_system_library(origin) or str(place))
    except OSError:
        return None
    return ".".join(map(str, onednn_version(library)))


def installed(names: Iterable[str], report: Report) -> list[str]:
    """Return those engines that are installed; name the others with what installs them."""
    found = []
    for name in names:
        if installed_version(name) is None:
            report(f"{name} is not installed; this installs it: {install_command(name)}")
        else:
            found.append(name)
    return found


def install(name: str, report: Report) -> None:
    """Install an engine into an environment of its own, or leave things as they were.

    The environment is built beside its place and moved there once it is seen to work.  Two
    installations of one engine wait for each other.

    Raises:
        PeerError: the engine cannot be installed here, or its installation failed.
    """
    origin = source(name)
    if origin.environment is None:
        raise PeerError(f"{name} lives in this environment: {install_command(name)}")
    if library := _system_library(origin):
        report(f"{name}: the system has {library}, nothing to install")
        return
    _check_requirements(origin.environment)
    root().mkdir(parents=True, exist_ok=True)
    with FileLock(root() / f"{origin.environment.name}.lock"):
        place = root() / origin.environment.name
        if _pins_of(place) == origin.environment.pins:
            report(f"{name}: already installed in {place}")
            return
        building = place.with_suffix(".building")
        shutil.rmtree(building, ignore_errors=True)
        try:
            _build(origin.environment, building, report)
            shutil.rmtree(place, ignore_errors=True)
            building.rename(place)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _check_requirements(environment: Environment) -> None:
    """Refuse before anything is downloaded what cannot work afterwards."""
    here = sys.version_info[:2]
    if not environment.oldest_python <= here <= environment.newest_python:
        bound, edge = "newer", environment.oldest_python
        if here > edge:
            bound, edge = "older", environment.newest_python
        raise PeerError(
            f"{environment.name} needs Python {edge[0]}.{edge[1]} or {bound}, for which "
            f"{' and '.join(environment.pins[:2])} have wheels; this is Python {here[0]}.{here[1]}"
        )
    missing = [library for library in environment.libraries if not _loads(library)]
    if missing:
        packages = " ".join(environment.libraries[library] for library in missing)
        raise PeerError(
            f"{environment.name} needs {', '.join(missing)} of the system; "
            f"on Debian and Ubuntu: apt-get install {packages}"
        )


def _build(environment: Environment, folder: Path, report: Report) -> None:
    report(f"{environment.name}: making a virtual environment")
    _command([sys.executable, "-m", "venv", str(folder)], report)
    pip = [str(_python(folder)), "-m", "pip", "--disable-pip-version-check"]
    _command([*pip, "install", "--no-input", *environment.pins], report)
    report(f"{environment.name}: {environment.check}")
    _command([str(_python(folder)), "-c", environment.check], report)
    (folder / PINS_FILE).write_text("\n".join(environment.pins))


def _command(command: Sequence[str], report: Report) -> None:
    """Run a command, hand on what it prints, and repeat the end of that if it fails."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            report(line.rstrip())
    if process.returncode:
        tail = "\n  ".join(last)
        raise PeerError(f"{' '.join(command)} failed ({process.returncode}):\n  {tail}")


def _pins_of(folder: Path) -> tuple[str, ...]:
    """Return the pins that an environment was installed with; none where there is none."""
    file = folder / PINS_FILE
    return tuple(file.read_text().splitlines()) if file.exists() else ()


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _system_library(origin: Source) -> str | None:
    return ctypes.util.find_library(origin.system_library) if origin.system_library else None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
