"""`depthwise peers`: list, install and verify the engines to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from depthwise import console
from depthwise.bench.peers import roster
from depthwise.bench.peers.roster import Standing, Verdict
from depthwise.measure import environments

HEADERS = ("engine", "version", "verified on this machine", "command")


def listing(*, as_json: bool) -> None:
    """Print every engine with its version and whether it was verified on this machine."""
    standings = list(roster.standings())
    if as_json:
        console.print_json([asdict(standing) for standing in standings])
        return
    console.print_table(HEADERS, map(_row, standings), left=len(HEADERS))


def _row(standing: Standing) -> tuple[str, str, str, str]:
    verified = "yes" if standing.verified else standing.remark
    return standing.name, standing.version or "", verified, standing.command


def install(names: Sequence[str]) -> int:
    """Install engines one after the other, and verify each.

    Returns:
        0, or 1 where an engine computes something wrongly.

    Raises:
        PeerError: an engine cannot be installed; those before it are.
    """
    for name in names:
        with console.err.status(f"{name}: ") as status:

            def report(line: str) -> None:
                if console.err.is_terminal:
                    status.update(line[: console.err.width - 4])
                else:
                    console.err.print(line, markup=False, soft_wrap=True)

            environments.install(name, report)
    return verify(names)


def verify(names: Sequence[str]) -> int:
    """Hold engines, or all that are installed, against the oracle on a few problems.

    Returns:
        0, or 1 where one computes something wrongly or ends.
    """
    for name in names:
        environments.interpreter(name)  # refuse what is missing before the first takes its time
    chosen = names or roster.installed()
    with console.progress(len(chosen) * len(roster.PROBLEMS)) as step:
        verdicts = [roster.verify(name, step) for name in chosen]
    for verdict in verdicts:
        console.out.print(_sentence(verdict), markup=False, soft_wrap=True)
    return int(not all(verdict.verified for verdict in verdicts))


def _sentence(verdict: Verdict) -> str:
    lines = "\n  ".join(verdict.wrong or (() if verdict.right else ("nothing was computed",)))
    engine = f"{verdict.engine} {verdict.version}"
    if verdict.verified:
        return f"{engine}: verified, {verdict.right} results"
    return f"{engine}: not verified\n  {lines}"
