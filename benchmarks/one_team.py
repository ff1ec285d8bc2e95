"""What our kernels and PyTorch's operators cost each other in one process.

    python benchmarks/one_team.py [--threads 2]

A kernel and an operator are timed alone and alternating; were there two pools of threads, the pair
would take several times the sum.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch

import depthwise as dw
from depthwise.console import print_table
from depthwise.measure.timing import interleave

REPEATS = 40
SPECS = ("depthwise c144 hw56 k3 p1 nhwc", "depthwise c384 hw14 k3 p1 nhwc")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    rows = []
    for text in SPECS:
        x, weight, out = dw.random_problem(dw.parse(text))
        bound = dw.compile(text).bind(weight)
        tensor, product = torch.from_numpy(x), torch.empty(x.shape)

        def kernel(bound=bound, x=x, out=out) -> None:
            bound.run(x, out)

        def operator(tensor=tensor, product=product) -> None:
            torch.mul(tensor, tensor, out=product)

        def pair(kernel=kernel, operator=operator) -> None:
            kernel()
            operator()

        runs = {"kernel": kernel, "torch.mul": operator, "alternating": pair}
        us = {name: median(samples) for name, samples in interleave(runs, REPEATS).items()}
        ratio = us["alternating"] / (us["kernel"] + us["torch.mul"])
        rows.append([text, *(f"{time:.1f}" for time in us.values()), f"{ratio:.2f}"])
    print_table(("problem", *runs, "over the sum"), rows, title="Microseconds")


if __name__ == "__main__":
    main()
