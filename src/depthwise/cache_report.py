"""`depthwise cache`: what is kept on disk, and clearing it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from rich.filesize import decimal

from depthwise import cache, console, disk
from depthwise.cache import Stored

HEADERS = ("problem", "plan", "target", "made by", "last used", "size")
_AGES = (("d", 86400), ("h", 3600), ("min", 60))


def listing(*, as_json: bool) -> None:
    """Print every kernel on disk, the one that was used last first."""
    entries = cache.stored()[::-1]
    if as_json:
        console.print_json(_summary(entries))
        return
    console.out.print(_title(entries), markup=False, soft_wrap=True)
    if entries:
        console.print_table(HEADERS, map(_row, entries), left=4)


def clear(*, stale: bool, older_than: float | None) -> None:
    """Remove kernels from the disk, and say how many.

    Args:
        stale: only those that another version of this package or of TVM made.
        older_than: only those that were not used for so many days; None removes them all.
    """
    chosen = cache.stored()
    if stale:
        chosen = [entry for entry in chosen if entry.stale]
    if older_than is not None:
        before = time.time() - older_than * 86400
        chosen = [entry for entry in chosen if entry.used < before]
    for entry in chosen:
        disk.remove(entry.path)
    cache.tidy()
    console.out.print(f"removed {_amount(chosen)}")


def _title(entries: list[Stored]) -> str:
    if disk.root() is None:
        return f"{disk.VARIABLE} is empty: nothing is kept on disk"
    stale = sum(entry.stale for entry in entries)
    old = f"; {stale} of other versions (depthwise cache clear --stale)" if stale else ""
    return f"{disk.root()}: {_amount(entries)} of at most {decimal(cache.LARGEST_BYTES)}{old}"


def _amount(entries: list[Stored]) -> str:
    count = len(entries)
    noun = "kernel" if count == 1 else "kernels"
    return f"{count} {noun}, {decimal(sum(entry.size for entry in entries))}"


def _row(entry: Stored) -> tuple[str, ...]:
    problem = cache.describe(entry) or {"spec": "(damaged)", "plan": "", "target": ""}
    maker = "another version" if entry.stale else "this version"
    return (*problem.values(), maker, _age(time.time() - entry.used), decimal(entry.size))


def _age(seconds: float) -> str:
    """Return a time span in its largest whole unit."""
    found = ((name, int(seconds // unit)) for name, unit in _AGES)
    return next((f"{count} {name} ago" for name, count in found if count > 0), "now")


def _summary(entries: list[Stored]) -> dict[str, Any]:
    place = disk.root()
    return {
        "folder": None if place is None else str(place),
        "fingerprint": cache.fingerprint(),
        "bytes": sum(entry.size for entry in entries),
        "largest_bytes": cache.LARGEST_BYTES,
        "kernels": [
            {
                **(cache.describe(entry) or {"spec": None, "plan": None, "target": None}),
                "fingerprint": entry.path.parent.name,
                "bytes": entry.size,
                "used": datetime.fromtimestamp(entry.used, timezone.utc).isoformat("T", "seconds"),
                "path": str(entry.path),
            }
            for entry in entries
        ],
    }
