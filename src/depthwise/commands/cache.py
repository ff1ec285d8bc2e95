"""`depthwise cache`: what is kept on disk, and clearing it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from rich.filesize import decimal

from depthwise import console
from depthwise.console import Form
from depthwise.store import cache, disk
from depthwise.store.cache import Stored

TOTALS = ("", "files", "size", "last used")
HEADERS = ("problem", "plan", "target", "made by", "last used", "size")
SPARE = ("target",)
DAY = 86400
NAMED = 3
"""How many files that are not ours are named."""
_AGES = (("d", DAY), ("h", 3600), ("min", 60))


def listing(*, everything: bool, form: Form) -> None:
    """Print what is on disk: how much of each kind, or every kernel and tuned plan.

    Args:
        everything: print each, those that were used last first; JSON and CSV have that always.
        form: in which to print it.
    """
    kernels, plans = cache.stored()[::-1], cache.stored_plans()[::-1]
    if form == "table":
        _print(kernels, plans, everything=everything)
        return
    found = _summary(kernels, plans)
    records = [{"kind": kind, **each} for kind in ("kernels", "plans") for each in found[kind]]
    if form == "json":
        console.print_json(found)
    else:
        console.print_csv(records)


def _print(kernels: list[Stored], plans: list[Stored], *, everything: bool) -> None:
    place = disk.root()
    if place is None:
        console.say(f"{disk.VARIABLE} is empty: nothing is kept on disk")
        return
    kinds = {
        "kernels": [entry for entry in kernels if not entry.stale],
        "kernels of other versions": [entry for entry in kernels if entry.stale],
        "tuned plans": plans,
    }
    console.print_table(TOTALS, map(_total, kinds, kinds.values()), title=str(place))
    console.say(f"Kernels take at most {decimal(cache.LARGEST_BYTES)}.")
    if kinds["kernels of other versions"]:
        console.say("Those of other versions are not loaded; depthwise cache clear --stale")
    if everything:
        for name, entries in (("Kernels", kernels), ("Tuned plans", plans)):
            if entries:
                console.say()
                console.print_table(HEADERS, map(_row, entries), left=4, title=name, spare=SPARE)
    elif kernels or plans:
        console.say("Each of them: depthwise cache --all")
    _print_foreign()


def clear(*, stale: bool, older_than: float | None, plans: bool) -> None:
    """Remove files from the cache, and say how many.

    Args:
        stale: only those that another version of this package or of TVM made.
        older_than: only those that were not used for so many days; None removes them all.
        plans: also tuned plans, which take longer to find again than kernels to compile.
    """

    def remove(entries: list[Stored]) -> list[Stored]:
        chosen = [entry for entry in entries if entry.stale or not stale]
        if older_than is not None:
            before = time.time() - older_than * DAY
            chosen = [entry for entry in chosen if entry.used < before]
        for entry in chosen:
            disk.remove(entry.path)
        return chosen

    gone = _amount(remove(cache.stored()), "kernel")
    remove(cache.stored_choices())
    if plans:
        gone += f" and {_amount(remove(cache.stored_plans()), 'tuned plan')}"
    cache.tidy()
    console.say(f"removed {gone}")
    _print_foreign()


def _print_foreign() -> None:
    """Name what lies in the folder and is left, as far as a line holds."""
    if foreign := cache.foreign():
        named = ", ".join(map(str, foreign[:NAMED]))
        more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
        console.say(f"left, because depthwise did not write it: {named}{more}")


def _total(name: str, entries: list[Stored]) -> tuple[object, ...]:
    used = _age(time.time() - max(entry.used for entry in entries)) if entries else None
    return name, len(entries), decimal(sum(entry.size for entry in entries)), used


def _amount(entries: list[Stored], noun: str) -> str:
    plural = "" if len(entries) == 1 else "s"
    return f"{len(entries)} {noun}{plural}, {decimal(sum(entry.size for entry in entries))}"


def _row(entry: Stored) -> tuple[str | None, ...]:
    problem = cache.describe(entry) or {"spec": "(damaged)", "plan": "", "target": ""}
    maker = "another version" if entry.stale else "this version"
    return (*problem.values(), maker, _age(time.time() - entry.used), decimal(entry.size))


def _age(seconds: float) -> str:
    """Return a time span in its largest whole unit."""
    found = ((name, int(seconds // unit)) for name, unit in _AGES)
    return next((f"{count} {name} ago" for name, count in found if count > 0), "now")


def _summary(kernels: list[Stored], plans: list[Stored]) -> dict[str, Any]:
    place = disk.root()
    return {
        "folder": None if place is None else str(place),
        "fingerprint": cache.fingerprint(),
        "largest_bytes": cache.LARGEST_BYTES,
        "kernels": [_entry_summary(entry) for entry in kernels],
        "plans": [_entry_summary(entry) for entry in plans],
        "foreign": list(map(str, cache.foreign())),
    }


def _entry_summary(entry: Stored) -> dict[str, Any]:
    return {
        **(cache.describe(entry) or {"spec": None, "plan": None, "target": None}),
        "fingerprint": entry.path.parent.name,
        "bytes": entry.size,
        "used": datetime.fromtimestamp(entry.used, timezone.utc).isoformat("T", "seconds"),
        "path": str(entry.path),
    }
