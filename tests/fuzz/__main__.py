"""`make fuzz`: all parts, or those that are named, and one table at the end."""

from __future__ import annotations

import argparse
import math
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from fuzz.driver import Tally, run
from fuzz.parts import FAULTS, FINE, PARTS, Outcome

PROBLEMS = "problems"
"""The tests that draw problems, which hypothesis runs."""
SHOWN = 20
"""How many faults of each kind are told in full."""


def arguments() -> tuple[argparse.Namespace, list[str]]:
    about = [f"  {name:11} {part.about}, {part.full:,} calls" for name, part in PARTS.items()]
    parser = argparse.ArgumentParser(
        prog="make fuzz", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        description="Look for crashes, hangs, wrong results and what is left behind.",
        epilog="\n".join([
            "parts:", *about,
            f"  {PROBLEMS:11} the tests that draw problems; takes pytest's arguments and no budget",
        ]),
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", default=[], help="default: all")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all parts but problems")
    parser.add_argument("--calls", type=int, help="of each part, however long that takes")
    parser.add_argument("--full", action="store_true", help="as many calls as stand below")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--first", type=int, default=0, help="the number of the first try")
    known, others = parser.parse_known_args()
    if PROBLEMS in known.parts:
        at = known.parts.index(PROBLEMS)
        others += known.parts[at + 1 :]
        del known.parts[at + 1 :]
    if unknown := {*known.parts} - {*PARTS, PROBLEMS}:
        parser.error(f"a part is one of {', '.join([*PARTS, PROBLEMS])}; got {' '.join(unknown)}")
    if others and PROBLEMS not in known.parts:
        parser.error(f"no such option: {' '.join(others)}")
    return known, others


def problems(others: list[str]) -> Tally:
    """Run the tests that draw problems, as pytest counts them."""
    tally, begun = Tally(), time.monotonic()
    with TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        options = () if others else ("--numprocesses", "auto", "--maxprocesses", "4")
        command = [
            sys.executable, "-m", "pytest", *options, "-m", "hypothesis",
            "--hypothesis-profile=fuzz", f"--junitxml={results}", *others,
        ]  # fmt: skip
        status = subprocess.run(command, check=False).returncode
        if not results.exists():
            tally.add(Outcome("crashed"))
            return tally
        for suite in ElementTree.parse(results).iter("testsuite"):
            failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped, tests = int(suite.get("skipped", 0)), int(suite.get("tests", 0))
            tally.counts += {"wrong": failed, "skipped": skipped}
            tally.counts["right"] += tests - failed - skipped
    if status and not tally.counts["wrong"]:
        tally.add(Outcome("crashed"))
    tally.seconds = time.monotonic() - begun
    return tally


def table(tallies: dict[str, Tally]) -> str:
    kinds = (*FINE, *FAULTS)
    lines = [("part", "calls", *kinds, "seconds")]
    lines += [
        (name, tally.calls, *(tally.counts[kind] for kind in kinds), round(tally.seconds))
        for name, tally in tallies.items()
    ]
    return "\n".join(
        f"{name:11}" + "".join(f"{each:>12}" for each in others) for name, *others in lines
    )


def step(name: str, calls: int) -> None:
    """Show on a terminal how far a part has come."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{name}: {calls:,} calls ")


def reporter(name: str, seed: int) -> Callable[[int, Outcome], None]:
    """Return what tells of faults of a part: of the first ones, each with the line to repeat it."""
    shown = Counter[str]()

    def report(index: int, outcome: Outcome) -> None:
        shown[outcome.kind] += 1
        if shown[outcome.kind] <= SHOWN:
            again = f"{name} --seed {seed} --first {index} --calls 1"
            said = f"{name}: {outcome.kind}: {outcome.said}"
            sys.stdout.write(f'\n{said}\nmake fuzz ARGS="{again}"\n')
            sys.stdout.flush()

    return report


def main() -> None:
    chosen, others = arguments()
    parts = [name for name in chosen.parts or PARTS if name in PARTS]
    sys.stdout.write(f"seed: {chosen.seed}\n")
    tallies = {}
    for name in parts:
        calls = chosen.calls or (PARTS[name].full if chosen.full else sys.maxsize)
        seconds = 60 * chosen.minutes / len(parts) if calls == sys.maxsize else math.inf
        tallies[name] = run(
            name, chosen.seed, calls, seconds, first=chosen.first,
            report=reporter(name, chosen.seed), step=step,
        )  # fmt: skip
        sys.stdout.write(f"\n{table({name: tallies[name]})}\n")
        sys.stdout.flush()
    if not chosen.parts or PROBLEMS in chosen.parts:
        tallies[PROBLEMS] = problems(others)
    sys.stdout.write(f"\nseed {chosen.seed}\n{table(tallies)}\n")
    sys.exit(any(tally.counts[kind] for tally in tallies.values() for kind in FAULTS))


if __name__ == "__main__":
    main()
