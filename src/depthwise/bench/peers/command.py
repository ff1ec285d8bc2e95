"""`depthwise peers`: list, install and verify the engines to compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from depthwise import console
from depthwise.bench.peers import roster
from depthwise.bench.peers.roster import Standing, Verdict
from depthwise.console import Form
from depthwise.measure import environments
from depthwise.measure.catalogue import SOURCES

HEADERS = ("engine", "version", "verified on this machine")


def listing(form: Form) -> None:
    """Print every engine with its version and whether it was verified on this machine."""
    standings = list(roster.standings())

    def table() -> None:
        console.print_table(HEADERS, map(_row, standings), left=len(HEADERS))
        for command in _commands(standings):
            console.say(command)

    records = [asdict(standing) for standing in standings]
    console.publish(form, value=records, records=records, table=table)


def _commands(standings: Sequence[Standing]) -> Iterator[str]:
    """Yield what installs the engines that are missing, and what verifies the others."""
    missing = [each for each in standings if each.version is None]
    here = [each for each in missing if SOURCES[each.name].environment is None]
    if here:
        yield f"to install {', '.join(each.name for each in here)}: {here[0].command}"
    if len(missing) > len(here):
        yield "to install others: depthwise peers install NAME"
    if any(each.version and not each.verified for each in standings):
        yield "to verify what is installed: depthwise peers verify"


def _row(standing: Standing) -> tuple[str, str, str]:
    verified = "yes" if standing.verified else standing.remark
    return standing.name, standing.version or "", verified


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
        console.say(_sentence(verdict))
    return int(not all(verdict.verified for verdict in verdicts))


def _sentence(verdict: Verdict) -> str:
    engine = f"{verdict.engine} {verdict.version}"
    lines = [f"left out: {each}" for each in verdict.left_out]
    if verdict.verified:
        return "\n  ".join([f"{engine}: verified, {verdict.right} results", *lines])
    wrong = verdict.wrong or (() if verdict.right else ("nothing was computed",))
    return "\n  ".join([f"{engine}: not verified", *wrong, *lines])
