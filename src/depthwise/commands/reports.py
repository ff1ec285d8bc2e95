"""The report of a network as a command prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from depthwise import console
from depthwise.console import Form

SPARE = ("%",)


class Report(Protocol):
    """What has a table with lines below it."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows of the table."""

    def notes(self) -> Iterator[str]:
        """Yield the lines below it."""


def publish(
    report: Report, form: Form, headers: Sequence[str], words: int, rows: Sequence[str]
) -> None:
    """Print a report.

    Args:
        report: of a network.
        form: how.
        headers: of the table.
        words: how many leading columns of the table hold words.
        rows: the keys of `as_dict` whose values, a row or a list of them, CSV has.
    """

    def table() -> None:
        console.print_table(headers, report.cells(), left=words, spare=SPARE)
        console.say()
        for line in report.notes():
            console.say(line)

    value = report.as_dict()
    console.publish(form, value=value, records=list(_records(value, rows)), table=table)


def _records(value: Mapping[str, Any], keys: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        yield from value[key] if isinstance(value[key], list) else [value[key]]
