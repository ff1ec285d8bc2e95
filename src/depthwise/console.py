"""What the command line prints with: tables, JSON and progress, plain when nobody is watching.

Results go to stdout.  Progress goes to stderr, and only where that is a terminal and the work takes
a while, so that a pipe or a log holds results alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PATIENCE_SECONDS = 2.0
PIPE_WIDTH = 1000  # a table in a pipe or a file is never folded

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False)


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    left: int = 1,
) -> None:
    """Print a table to stdout: ruled on a terminal, bare aligned columns in a pipe.

    Args:
        headers: one name a column.
        rows: one cell a column, printed as `str` gives it; None is left blank.
        title: a line above the table.
        left: how many leading columns hold words and are aligned left; the others hold numbers.
    """
    if title is not None:
        out.print(title, markup=False, soft_wrap=True)
    out.print(_table(headers, rows, left, ruled=out.is_terminal), markup=False)


def table_text(headers: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """Return a ruled table as lines that are never folded; arguments as in `print_table`."""
    return as_text(_table(headers, rows, left, ruled=True))


def as_text(table: Table) -> str:
    """Return a table as lines that are never folded, without blanks at their ends."""
    text = StringIO()
    Console(file=text, width=PIPE_WIDTH).print(table, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")


def _table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], left: int, *, ruled: bool
) -> Table:
    table = Table(box=box.SIMPLE_HEAD if ruled else None, pad_edge=False)
    for position, header in enumerate(headers):
        table.add_column(header, justify="left" if position < left else "right")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    return table


def print_json(value: object) -> None:
    """Print a value as indented JSON to stdout."""
    out.print_json(data=value)


@contextmanager
def progress(total: int | None) -> Iterator[Callable[[str], None]]:
    """Show how far a piece of work of `total` steps (None: nobody knows) has come, while it lasts.

    Nothing is drawn between steps, so that work which is being timed is left alone.

    Yields:
        step: to be called at the beginning of each step with a few words that name it.
    """
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=err,
        auto_refresh=False,
        transient=True,
        disable=not err.is_terminal,
    )
    task = bar.add_task("", total=total)
    begun = 0

    def step(name: str) -> None:
        nonlocal begun
        bar.update(task, completed=begun, description=name, refresh=bar.live.is_started)
        begun += 1

    starter = threading.Timer(PATIENCE_SECONDS, bar.start)
    starter.daemon = True
    starter.start()
    try:
        yield step
    finally:
        starter.cancel()
        starter.join()
        if bar.live.is_started:
            bar.stop()
