"""What the command line prints with: tables, JSON, CSV and progress, plain when nobody is watching.

Results go to stdout.  Progress goes to stderr, and only where that is a terminal and the work takes
a while, so that a pipe or a log holds results alone.

No number and no name is ever cut.  A table that is too wide is laid out otherwise (`_fit`), and
text is folded between words.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

Form = Literal["table", "json", "csv"]
"""In which form a command prints what it found."""
PATIENCE_SECONDS = 2.0
PIPE_WIDTH = 80
"""How wide a table in a pipe or a file is at most."""
WIDE = 10_000
"""As wide as any table."""
GAP = 2
"""Blanks between columns, and before what belongs to the line above."""
PROSE_WIDTH = 30
"""A last column of words is folded where at least so much is left for it."""


def _width() -> int | None:
    """Return how wide the output is; None: as wide as the terminal."""
    if sys.stdout is not None and sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    return min(PIPE_WIDTH, int(columns) if columns.isdecimal() else PIPE_WIDTH) or PIPE_WIDTH


out = Console(highlight=False, width=_width())
err = Console(stderr=True, highlight=False)


def say(text: str = "") -> None:
    """Print text to stdout, folded between words."""
    for line in text.split("\n"):
        _write(_folded(line, out.width))


def publish(
    form: Form,
    *,
    value: object,
    records: Iterable[Mapping[str, object]],
    table: Callable[[], None],
) -> None:
    """Print what a command found in the form that was asked for.

    Args:
        form: one of these:
        value: what is printed as JSON.
        records: the lines of CSV, one mapping each (see `as_csv`).
        table: prints tables and text.
    """
    if form == "json":
        print_json(value)
    elif form == "csv":
        print_csv(records)
    else:
        table()


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    left: int = 1,
    spare: Sequence[str] = (),
) -> None:
    """Print a table to stdout: ruled on a terminal, bare aligned columns in a pipe.

    Args:
        headers: one name a column.
        rows: one cell a column, printed as `str` gives it; None is left blank.
        title: a line above the table.
        left: how many leading columns hold words and are aligned left; the others hold numbers.
        spare: the headers of the columns that are left out where there is no room, the least
            important first; a line below the table names them.
    """
    print_tables(headers, [(title, rows)], left=left, spare=spare)


def print_tables(
    headers: Sequence[str],
    tables: Iterable[tuple[str | None, Iterable[Sequence[object]]]],
    *,
    left: int = 1,
    spare: Sequence[str] = (),
) -> None:
    """Print tables that have the same columns, all laid out alike; arguments as in `print_table`.

    Args:
        headers: of every table.
        tables: the title and the rows of each.
        left: of every table.
        spare: of every table.
    """
    texts = [(title, list(map(_cells, rows))) for title, rows in tables]
    rows = [row for _, own in texts for row in own]
    layout = _fit(headers, rows, left, spare, out.width)
    for number, (title, own) in enumerate(texts):
        if number:
            out.print()
        if title is not None:
            say(title)
        _write(layout.heading(), style="bold")
        _write([layout.rule] if out.is_terminal else [])
        _write(line for row in own for line in layout.lines(row))
    shown = {*layout.beside, *layout.apart}
    if missing := {header: None for k, header in enumerate(headers) if k not in shown}:
        say(f"({', '.join(missing)}: with --wide)")


def table_text(headers: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """Return a ruled table as lines that are never folded; arguments as in `print_table`."""
    texts = list(map(_cells, rows))
    layout = _fit(headers, texts, left, (), WIDE)
    lines = (line for row in texts for line in layout.lines(row))
    return "\n".join([*layout.heading(), layout.rule, *lines])


def as_text(table: Table) -> str:
    """Return a table as lines that are never folded, without blanks at their ends."""
    text = StringIO()
    Console(file=text, width=WIDE).print(table, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")


def _cells(row: Sequence[object]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in row]


def _fit(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int,
    spare: Sequence[str],
    width: int,
) -> _Layout:
    """Return the first of these ways of laying out a table that is no wider than `width`.

    Columns beside one another, as many of the spare ones left out as it takes; the same with the
    widest column of words on lines of its own, with the two widest, and so on; each cell on a line
    of its own.
    """
    everything = range(len(headers))
    sizes = [max((cell_len(row[k]) for row in rows), default=0) for k in everything]
    for count in range(left + 1):
        for gone in range(len(spare) + 1):
            kept = [k for k in everything if headers[k] not in spare[:gone]]
            words = sorted((k for k in kept if k < left), key=lambda k: sizes[k])
            apart = words[len(words) - count :]
            beside = [k for k in kept if k not in apart]
            layout = _Layout(headers, rows, beside, sorted(apart), left, width)
            if beside and layout.width <= width:
                return layout
    return _Layout(headers, rows, [], list(everything), left, width)


class _Layout:
    """A way of laying out a table.

    Args:
        headers: one name a column.
        rows: the cells of all rows.
        beside: the columns that stand beside one another.
        apart: those that have lines of their own: the first one above the others, the rest below.
        left: how many leading columns hold words.
        room: the width that there is.
    """

    def __init__(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[str]],
        beside: Sequence[int],
        apart: Sequence[int],
        left: int,
        room: int,
    ) -> None:
        self.headers, self.beside, self.apart, self.left = headers, beside, apart, left
        self.room = room
        self.indent = GAP if 0 in apart else 0
        self.widths = self._widths(rows)
        self.width = self._taken()

    def _widths(self, rows: Sequence[Sequence[str]]) -> dict[int, int]:
        """Return the width of each column; where there is too little room, of folded ones."""
        headers = self.headers
        cells = {k: max((cell_len(row[k]) for row in rows), default=0) for k in self.beside}
        whole = {k: max(width, cell_len(headers[k])) for k, width in cells.items()}
        if sum(whole.values()) <= self._room_of_cells():
            return whole
        folded = {k: max(width, _longest_word(headers[k])) for k, width in cells.items()}
        last = len(headers) - 1
        if last in folded and last < self.left:
            words = max(_longest_word(text) for text in (headers[last], *(r[last] for r in rows)))
            others = sum(folded.values()) - folded[last]
            least = max(PROSE_WIDTH, words, self._room_of_cells() - others)
            folded[last] = min(whole[last], least)
        return folded

    def _room_of_cells(self) -> int:
        return self.room - self.indent - GAP * (len(self.beside) - 1)

    def _taken(self) -> int:
        return self.room - self._room_of_cells() + sum(self.widths.values())

    @property
    def rule(self) -> str:
        """The line below the names of the columns."""
        return "─" * self.width

    def heading(self) -> list[str]:
        """Return the names of the columns; none where they stand in every line."""
        if not self.beside:
            return []
        above = _folded(self.headers[0], self.room) if 0 in self.apart else []
        return [*above, *self._beside(self.headers, below=True)]

    def lines(self, row: Sequence[str]) -> list[str]:
        """Return the lines of a row."""
        if not self.beside:
            label = max(map(cell_len, self.headers))
            cells = [
                f"{_padded(header, label)}  {cell}"
                for header, cell in zip(self.headers, row, strict=True)
            ]
            return [line for cell in cells for line in _folded(cell, self.room, label + GAP)] + [""]
        lines = _folded(row[0], self.room, 2 * GAP) if 0 in self.apart else []
        lines += self._beside(row)
        for k in self.apart:
            if k and row[k]:
                name = f"{self.headers[k]}: " if self.headers[k] else ""
                lines += _folded(f"{' ' * GAP}{name}{row[k]}", self.room, GAP)
        return lines

    def _beside(self, row: Sequence[str], *, below: bool = False) -> list[str]:
        """Return the lines of the cells that stand beside one another."""
        folded = {k: _folded(row[k], self.widths[k]) for k in self.beside}
        height = max(map(len, folded.values()))
        for lines in folded.values():
            blank = [""] * (height - len(lines))
            lines[:] = blank + lines if below else lines + blank
        texts = [
            (" " * GAP).join(
                _padded(lines[number], self.widths[k], right=k >= self.left)
                for k, lines in folded.items()
            )
            for number in range(height)
        ]
        return [" " * self.indent + text.rstrip() for text in texts]


def _write(lines: Iterable[str], style: str | None = None) -> None:
    for line in lines:
        out.print(line, style=style, markup=False, soft_wrap=True)


def _folded(text: str, width: int, indent: int = 0) -> list[str]:
    """Return text in lines that are no wider, unless a single word is; the first has no indent."""
    own = " " * (len(text) - len(text.lstrip()))
    lines = textwrap.wrap(
        text, width, subsequent_indent=own + " " * indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return lines or [""]


def _padded(text: str, width: int, *, right: bool = False) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def print_json(value: object) -> None:
    """Print a value as indented JSON to stdout."""
    out.print_json(data=value)


def print_csv(records: Iterable[Mapping[str, object]]) -> None:
    """Print records as CSV to stdout; see `as_csv`."""
    out.file.write(as_csv(records))


def as_csv(records: Iterable[Mapping[str, Any]]) -> str:
    """Return CSV with a column for every key of any record; lists and mappings are JSON in it."""
    lines = list(records)
    text = StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for line in lines for key in line)))
    writer.writeheader()
    for line in lines:
        writer.writerow(
            {
                key: json.dumps(value) if isinstance(value, list | dict | tuple) else value
                for key, value in line.items()
            }
        )
    return text.getvalue()


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
