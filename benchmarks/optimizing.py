"""How long `depthwise.torch.optimize` takes, with nothing compiled before and with everything.

    python benchmarks/optimizing.py [NETWORK ...]

Each network is optimized in two processes one after the other, which share a cache folder that is
empty at first; the second must not import the compiler.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from tempfile import TemporaryDirectory

from depthwise.bench.inference.problem import SIZES
from depthwise.console import print_table

CHILD = """
import sys, time, json
start = time.perf_counter()
import torch
import depthwise.torch as dwt
imported = time.perf_counter() - start
from depthwise.bench.inference.problem import NetworkProblem
from depthwise.bench.peers.torch_networks import build
problem = NetworkProblem(sys.argv[1])
network, x = build(problem), torch.randn(problem.input_shape)
start = time.perf_counter()
optimized = dwt.optimize(network, x)
made = time.perf_counter() - start
start = time.perf_counter()
optimized(x)
called = time.perf_counter() - start
compiler = "tvm" in sys.modules
print(json.dumps({"import": imported, "optimize": made, "call": called, "compiler": compiler}))
"""


def main() -> None:
    """Print the table."""
    rows = []
    for network in sys.argv[1:] or SIZES:
        with TemporaryDirectory() as folder:
            rows += [[network, cache, *child(network, folder)] for cache in ("empty", "full")]
    headers = ("network", "cache", "import s", "optimize s", "first call ms", "imports TVM")
    print_table(headers, rows, left=2)


def child(network: str, folder: str) -> list[str]:
    """Optimize a network in a process of its own, with its cache in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, network],
        env=os.environ | {"DEPTHWISE_CACHE": folder}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    took = json.loads(done.stdout)
    seconds = (took["import"], took["optimize"], 1e3 * took["call"])
    return [*(f"{each:.2f}" for each in seconds), str(took["compiler"])]


if __name__ == "__main__":
    main()
