"""Make the pictures of this folder: measure anew, on this machine.

    make images                        # all of them, in an hour: let the machine do nothing else
    make images ARGS="sweep.png"       # one

Texts beside a picture say what was measured with it: README.md and docs/performance.md for the
benchmark, docs/claims.md for the sweep, docs/optimize.md and docs/index.md for the network.  Change
them along with it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

HERE = Path(__file__).parent
NETWORK = "depthwise.bench.networks.mobilenet_v2:mobilenet_v2"


@dataclass(frozen=True)
class Run:
    """A command of `depthwise`, run in an empty folder, and the pictures that it leaves there."""

    arguments: tuple[str, ...]
    pictures: dict[str, str]
    """By the name that a picture has here: the file that the command writes."""


def bench(threads: int, pictures: dict[str, str]) -> Run:
    """Return a run of the benchmark with its default layers and every engine installed."""
    where = ("--json", "bench.json", "--plot", ".")
    return Run(("bench", "--threads", str(threads), *where), pictures)


RUNS = (
    bench(1, {"channels-1-thread.png": "channels.png", "roofline.png": "roofline.png"}),
    bench(2, {"channels-2-threads.png": "channels.png"}),
    Run(
        ("sweep", "depthwise c256 hw64 k3 p1", "--plot", "sweep.png"),
        {"sweep.png": "sweep.png"},
    ),
    Run(
        ("optimize", NETWORK, "--input", "1,3,224,224", "--threads", "1", "--plot", "layers.png"),
        {"optimize-mobilenet-v2.png": "layers.png"},
    ),
)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Pictures; all if none.")] = None,
    into: Annotated[Path, typer.Option(help="The folder that they are put into.")] = HERE,
) -> None:
    """Run what makes these pictures, and put them into place."""
    known = {name for run in RUNS for name in run.pictures}
    wanted = set(names or known)
    if wanted - known:
        sys.exit(f"the pictures are {', '.join(sorted(known))}; got {', '.join(wanted - known)}")
    for run in RUNS:
        if not wanted & run.pictures.keys():
            continue
        with TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "-m", "depthwise", *run.arguments], cwd=folder, check=True
            )
            for name in wanted & run.pictures.keys():
                shutil.copyfile(Path(folder, run.pictures[name]), into / name)


if __name__ == "__main__":
    typer.run(main)
