"""What a call costs beyond its kernel and the packing of its weights.

    python benchmarks/calls.py

Each row is the median of interleaved samples.  The kernel's own share is the launch of the same
machine code on prepared memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
import depthwise.torch as dwt
from depthwise.console import print_table
from depthwise.measure.timing import interleave

REPEATS = 40
SPECS = (
    "depthwise c16 hw4 k3 p1",
    "depthwise c16 hw4 k3 p1 nhwc",
    "depthwise c64 hw14 k3 p1 nhwc",
    "depthwise c384 hw14 k3 p1 nhwc",
)


def main() -> None:
    """Print the table."""
    torch.set_grad_enabled(False)
    rows = []
    for text in SPECS:
        spec = dw.parse(text)
        x, weight, out = dw.random_problem(spec)
        kernel = dw.compile(spec)
        bound = kernel.bind(weight)
        tensor, filters = torch.from_numpy(x), torch.from_numpy(weight)
        planes = tensor if spec.layout == "NCHW" else tensor.permute(0, 3, 1, 2)
        channels = spec.channels
        module = dwt.DepthwiseConv2d(channels, channels, 3, padding=1, bias=False)
        calls = {
            "kernel": lambda b=bound, x=x, y=out: b.run(x, y),
            "packing": lambda k=kernel, w=weight: k.pack([w]),
            "bound": lambda b=bound, x=x: b(x),
            "NumPy": lambda s=spec, x=x, w=weight: dw.depthwise_conv2d(
                x, w, padding=1, layout=s.layout
            ),
            "torch tensor": lambda x=planes, w=filters: dw.depthwise_conv2d(x, w, padding=1),
            "module": lambda x=planes, m=module: m(x),
            "torch's own": lambda x=planes, w=filters: F.conv2d(x, w, padding=1, groups=x.shape[1]),
        }
        us = {
            name: float(np.median(samples)) for name, samples in interleave(calls, REPEATS).items()
        }
        own = us["kernel"] + us["packing"]
        beyond = [us["bound"] - us["kernel"]]
        beyond += [us[name] - own for name in ("NumPy", "torch tensor", "module")]
        rows.append([text, *(f"{time:.2f}" for time in (*us.values(), *beyond))])
    headers = (
        "problem",
        *calls,
        "bound, beyond",
        "NumPy, beyond",
        "torch, beyond",
        "module, beyond",
    )
    print_table(headers, rows, title="Microseconds a call")


if __name__ == "__main__":
    main()
