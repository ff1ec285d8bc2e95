"""How long kernels take to build, and to load in a second process.

    python benchmarks/starting.py [--layout nchw]

Builds the default kernel of every distinct depthwise layer of five networks into an empty cache in
one process, then loads them all in another, which must not import the compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

from depthwise.bench.layers import problems, workload
from depthwise.console import print_table

NETWORKS = ("mobilenet_v1", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "xception")
CHILD = """
import sys, json, time
start = time.perf_counter()
import depthwise as dw
imported = time.perf_counter() - start
times = []
for text in json.load(sys.stdin):
    start = time.perf_counter()
    dw.compile(text)
    times.append(time.perf_counter() - start)
print(json.dumps({"import": imported, "kernels": times, "compiler": "tvm" in sys.modules}))
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layout", choices=("nchw", "nhwc"), default="nhwc")
    layout = parser.parse_args().layout.upper()
    layers = [layer for name in NETWORKS for layer in workload(name)]
    texts = [str(spec) for spec in problems(layers, "depthwise", layout=layout)]
    with TemporaryDirectory() as folder:
        built, loaded = child(texts, folder), child(texts, folder)
    rows = [row("built", built), row("loaded", loaded)]
    headers = ("", "import s", "first kernel ms", "median ms", "most ms", "imports TVM")
    print_table(headers, rows, title=f"{len(texts)} kernels, {layout}")


def child(texts: list[str], folder: str) -> dict[str, object]:
    """Compile every problem in a process of its own, with its cache in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(texts), env=os.environ | {"DEPTHWISE_CACHE": folder},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def row(name: str, measured: dict[str, object]) -> list[str]:
    """Format one process; its first kernel also pays for what is imported lazily."""
    first, *others = (1e3 * seconds for seconds in measured["kernels"])
    times = (measured["import"], first, median(others), max(others))
    return [name, *(f"{time:.2f}" for time in times), str(measured["compiler"])]


if __name__ == "__main__":
    main()
