"""Sentences, tables and programs that hold what a page has computed, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?(e[+-]\d+)?%?|-?inf")


def say(text: str) -> Any:
    """Return sentences as Markdown, for numbers that were measured a moment ago."""
    from IPython.display import Markdown

    return Markdown(text)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """Return a table as Markdown: numbers to the right, words to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    columns = zip(*cells, strict=True) if cells else [()] * len(headers)
    rules = ["--:" if _holds_numbers(column) else ":--" for column in columns]
    return say("\n".join(f"| {' | '.join(line)} |" for line in (headers, rules, *cells)))


def program(text: str, language: str = "python") -> Any:
    """Return a program as a block of code in its colours."""
    return say(f"```{language}\n{text.strip()}\n```")


def number(value: float) -> str:
    """Return a measure with three significant digits, and all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|")


def _holds_numbers(column: Iterable[str]) -> bool:
    filled = [cell for cell in column if cell]
    return bool(filled) and all(map(_NUMBER.fullmatch, filled))
