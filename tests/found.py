"""Findings of runs that never were, for the pages that show them."""

from __future__ import annotations

from typing import Any

from depthwise.bench.findings import Findings
from depthwise.bench.inference.run import NetworkResult
from depthwise.bench.results import Note, Result
from depthwise.measure import state
from test_network_bench import FOUND as NETWORKS
from test_report import LIMITS, result

PROBLEMS = [f"depthwise c{channels} hw64 k3 p1" for channels in (16, 32, 64, 128)]
TIMES = {
    "depthwise nhwc": (10.0, 20.0, 40.0, 90.0),
    "depthwise packed": (12.0, 22.0, 41.0, 80.0),
    "torch nchw": (100.0, 200.0, 400.0, 800.0),
    "torch channels_last": (60.0, 70.0, 35.0, 300.0),
    "onnxruntime nchwc": (50.0, 15.0, 60.0, 500.0),
}
LAYERS = [
    result(name, times[k], spec) for k, spec in enumerate(PROBLEMS) for name, times in TIMES.items()
]
NOTES = [
    Note("unstable", "torch", "nchw", PROBLEMS[0], "median 100.0 us, deviation 9.0 us"),
    Note("rejected", "litert", "nhwc", PROBLEMS[0], "no float64"),
    Note("rejected", "litert", "nhwc", PROBLEMS[1], "no float64"),
    Note("wrong", "mxnet", "nchw", PROBLEMS[0], "largest error 3; not timed"),
    Note("failed", "jax", "conv", PROBLEMS[2], "<script>alert('died')</script>"),
]


def findings(results: list[Any], notes: list[Note] | None = None, **changes: Any) -> Findings[Any]:
    given: dict[str, Any] = {
        "command": "depthwise bench --layers 'my layers.json'",
        "summary": "Some CPU (avx2), 2 threads, float32",
        "conditions": {"batch": 1, "samples of each time": 20},
        "machine": {**state.describe(), "load_before": 0.0, "governor": None},
        "limits": LIMITS,
        "asked": 4,
        "complete": 4,
    }
    return Findings(**{**given, **changes}, results=results, notes=notes or [])


def layers(**changes: Any) -> Findings[Result]:
    return findings(LAYERS, NOTES, **changes)


def networks() -> Findings[NetworkResult]:
    return findings(NETWORKS, asked=1, complete=1)
