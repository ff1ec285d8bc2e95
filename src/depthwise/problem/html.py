"""Tables as notebooks show them: what `_repr_html_` of costs, kernels and reports returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def as_html(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[object]], *,
    words: int = 1, notes: Iterable[str] = (),
) -> str:  # fmt: skip
    """Return a table as a notebook shows it, with every text escaped.

    Args:
        caption: what stands above it.
        headers: those of the columns.
        rows: their cells.
        words: how many leading columns hold words; the others are numbers.
        notes: lines below.
    """

    def row(cells: Sequence[object], kind: str) -> str:
        aligned = ("left" if place < words else "right" for place in range(len(cells)))
        return "".join(
            f'<{kind} style="text-align: {side}">{escape(str(text))}</{kind}>'
            for side, text in zip(aligned, cells, strict=True)
        )

    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{row(headers, 'th')}</tr></thead><tbody>{body}</tbody></table>{below}"
    )
