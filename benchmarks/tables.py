"""Results of `depthwise bench` as the tables of the pages on performance in docs/.

    python benchmarks/tables.py kernel-1.json kernel-2.json ...

Each file becomes a section: how many times as long every engine takes, and each problem beside the
fastest of them, or in training beside each of them.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean
from typing import Any, get_args

from depthwise.problem.block import BlockSpec
from depthwise.problem.costs import cost
from depthwise.problem.parse import parse
from depthwise.problem.training import PassKind

OURS = "depthwise"
PRIVATE_CACHE_BYTES = 512 * 2**10
Result = dict[str, Any]


def main() -> None:
    """Print the sections."""
    for name in sys.argv[1:]:
        results = json.loads(Path(name).read_text())["results"]
        print("\n".join(section(Path(name).stem, results)), end="\n\n")


def section(name: str, results: list[Result]) -> Iterable[str]:
    """Yield the lines of one file's section."""
    problems: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result["median_us"]:
            problems[result["spec"]].append(result)
    first = results[0]
    layout = "" if first["clock"] == "kernel" else f", {parse(first['spec']).layout} arrays"
    clock = f"{first['clock']} clock, {first['threads']} thread(s)"
    if first["batch"] > 1:
        clock += f", batch {first['batch']}"
    yield f"### {name}: {clock}{layout}, {first['dtype']}\n"
    yield from engines(problems)
    yield ""
    yield from limits(problems)
    yield ""
    yield from (beside_each if first["op"] in get_args(PassKind) else beside_fastest)(problems)


def beside_each(problems: dict[str, list[Result]]) -> Iterable[str]:
    """Yield a table of problems: our fastest, and every other engine's time over it."""
    names = sorted({contestant(row) for rows in problems.values() for row in others(rows)})
    titles = ["problem", "ours, us", "", *(f"x {name}" for name in names), "of limit"]
    yield f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|"
    for spec, rows in problems.items():
        mine = fastest(ours(rows))
        times = {contestant(row): row["median_us"] for row in others(rows)}
        ratios = (f"{times[n] / mine['median_us']:.2f}" if n in times else "" for n in names)
        cells = f"{mine['median_us']:.4g}", mine["variant"], *ratios, f"{mine['of_limit']:.0%}"
        yield f"| {shortened(spec)} | {' | '.join(cells)} |"


def beside_fastest(problems: dict[str, list[Result]]) -> Iterable[str]:
    """Yield a table of problems: our fastest, and the fastest of the other engines."""
    yield "| problem | ours, us | | fastest of all, us | x | of limit |\n|---|---|---|---|---|---|"
    for spec, rows in problems.items():
        mine, best = fastest(ours(rows)), fastest(others(rows))
        x = best["median_us"] / mine["median_us"]
        peer = f"{best['median_us']:.4g} {contestant(best)}"
        yield (
            f"| {shortened(spec)} | {mine['median_us']:.4g} | {mine['variant']} "
            f"| {peer} | {x:.2f} | {mine['of_limit']:.0%} |"
        )


def engines(problems: dict[str, list[Result]]) -> Iterable[str]:
    """Yield a table of every engine's variants: its time over our fastest."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for spec, rows in problems.items():
        mine, best = (fastest(each(rows))["median_us"] for each in (ours, others))
        ratios["the fastest, problem by problem"].append(best / mine)
        if narrows(spec):
            ratios["the fastest, blocks that narrow"].append(best / mine)
        for row in rows:
            ratios[contestant(row)].append(row["median_us"] / mine)
    yield "| engine | its time over our fastest, geometric mean | least | most | problems |"
    yield "|---|---|---|---|---|"
    for name, values in sorted(ratios.items(), key=lambda item: geometric_mean(item[1])):
        mean, least, most = geometric_mean(values), min(values), max(values)
        yield f"| {name} | {mean:.2f} | {least:.2f} | {most:.2f} | {len(values)} |"


def limits(problems: dict[str, list[Result]]) -> Iterable[str]:
    """Yield how far our times are from the machine's limit."""
    over = {spec: 1 / fastest(ours(rows))["of_limit"] for spec, rows in problems.items()}
    far = [x for spec, x in over.items() if cost(parse(spec)).bytes > PRIVATE_CACHE_BYTES]
    yield f"Our time over the limit, geometric mean: {geometric_mean(over.values()):.2f}" + (
        f"; of the {len(far)} problems whose data exceed 512 KiB: {geometric_mean(far):.2f}."
        if far
        else "."
    )


def narrows(text: str) -> bool:
    """Whether a problem is a block whose last part has fewer channels out than in."""
    spec = parse(text)
    return isinstance(spec, BlockSpec) and spec.project.out_channels < spec.project.channels


def contestant(row: Result) -> str:
    """Return an engine with its variant."""
    return f"{row['engine']} {row['variant']}"


def shortened(spec: str) -> str:
    """Return a problem without the words that all problems of a table begin with."""
    return spec.rsplit("depthwise ", maxsplit=1)[-1]


def ours(rows: list[Result]) -> list[Result]:
    """Return this package's results."""
    return [row for row in rows if row["engine"] == OURS]


def others(rows: list[Result]) -> list[Result]:
    """Return the other engines' results."""
    return [row for row in rows if row["engine"] != OURS]


def fastest(rows: list[Result]) -> Result:
    """Return the result of the least time."""
    return min(rows, key=lambda row: float(row["median_us"]))


if __name__ == "__main__":
    main()
