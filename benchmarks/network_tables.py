"""Results of `depthwise bench --op network` as the tables of docs/performance_networks.md.

python benchmarks/network_tables.py mobilenet_v2-1-1.json mobilenet_v2-16-1.json ...
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean
from typing import Any

OURS = "depthwise optimized"
GRAPH_ENGINES = ("onnxruntime nchwc", "openvino nchw")
PEERS = (*GRAPH_ENGINES, "torch compiled", "torch channels_last", "torch nchw")
FASTER = "the faster of ONNX Runtime and OpenVINO"
MIB = 2**20
Run = dict[str, dict[str, Any]]
"""One network at one batch and thread count: results by engine and variant."""


def main() -> None:
    """Print the tables."""
    runs: dict[tuple[int, int, str], Run] = defaultdict(dict)
    for name in sys.argv[1:]:
        for result in json.loads(Path(name).read_text())["results"]:
            if result["median_us"]:
                key = (result["batch"], result["threads"], result["layer"])
                runs[key][f"{result['engine']} {result['variant']}"] = result
    runs = {key: runs[key] for key in sorted(runs) if OURS in runs[key]}
    for table in (means, times, memory, preparation):
        print("\n".join(table(runs)), end="\n\n")


def means(runs: dict[tuple[int, int, str], Run]) -> Iterable[str]:
    """Yield how many times as long every other way takes, over all runs.

    The last column is what these means would be were every FMA at the machine's full rate, and
    nothing else took time.
    """
    yield from header(
        "its time over ours", "geometric mean", "least", "most", "over the limit of arithmetic"
    )
    ratios: dict[str, list[float]] = defaultdict(list)
    bounds: dict[str, list[float]] = defaultdict(list)
    for run in runs.values():
        mine = run[OURS]["median_us"]
        taken = {name: run[name]["median_us"] for name in PEERS if name in run}
        for name, time in {FASTER: fastest(run), **taken}.items():
            ratios[name].append(time / mine)
            bounds[name].append(time / (mine * run[OURS]["of_limit"]))
    for name, values in ratios.items():
        cells = [f"{pick(values):.2f}" for pick in (geometric_mean, min, max)]
        yield row(name, *cells, f"{geometric_mean(bounds[name]):.2f}")


def times(runs: dict[tuple[int, int, str], Run]) -> Iterable[str]:
    """Yield each run: our time, our images a second, and every other way's time over ours."""
    yield from header(
        "network", "batch", "threads", "ours, ms", "images/s", "of peak", FASTER, *PEERS
    )
    for (batch, threads, network), run in runs.items():
        mine = run[OURS]
        ratios = [over(run.get(name), mine) for name in PEERS]
        yield row(
            network, str(batch), str(threads), f"{mine['median_us'] / 1e3:.2f}",
            f"{mine['images_per_s']:.1f}", f"{mine['of_limit']:.0%}",
            f"{fastest(run) / mine['median_us']:.2f}", *ratios,
        )  # fmt: skip


def memory(runs: dict[tuple[int, int, str], Run]) -> Iterable[str]:
    """Yield what a call touches, and in brackets by how much it grows the process."""
    yield from header("MiB touched (grown)", "batch", "threads", OURS, *PEERS)
    for (batch, threads, network), run in runs.items():
        yield row(
            network, str(batch), str(threads), *(taken(run.get(name)) for name in (OURS, *PEERS))
        )


def preparation(runs: dict[tuple[int, int, str], Run]) -> Iterable[str]:
    """Yield how long it takes until the first call is over."""
    yield from header("s to prepare", "batch", "threads", OURS, *PEERS)
    for (batch, threads, network), run in runs.items():
        yield row(
            network, str(batch), str(threads), *(prepared(run.get(name)) for name in (OURS, *PEERS))
        )


def header(*cells: str) -> Iterable[str]:
    """Yield the first two lines of a table."""
    yield row(*cells)
    yield "|---" * len(cells) + "|"


def row(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def fastest(run: Run) -> float:
    """Return the time of the faster engine of those that take whole graphs, in us."""
    return min(run[name]["median_us"] for name in GRAPH_ENGINES if name in run)


def over(result: dict[str, Any] | None, mine: dict[str, Any]) -> str:
    """Return a time over ours."""
    return f"{result['median_us'] / mine['median_us']:.2f}" if result else ""


def taken(result: dict[str, Any] | None) -> str:
    """Return what a call touches, and by how much it grows the process."""
    if result is None:
        return ""
    return f"{result['touched_bytes'] / MIB:.0f} ({result['grown_bytes'] / MIB:.0f})"


def prepared(result: dict[str, Any] | None) -> str:
    """Return how long a way takes to prepare, the export to ONNX included."""
    return f"{result['prepare_seconds'] + result['export_seconds']:.1f}" if result else ""


if __name__ == "__main__":
    main()
