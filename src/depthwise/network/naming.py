"""What the parts of a network are called: the paths of what they stand for, in short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, takewhile


def short_names(groups: Sequence[Iterable[str]]) -> list[str]:
    """Return a name for each group of module paths.

    A group to which all of a module belongs is called by that module's path, "features.3"; another
    by its first and last path, "features.0 to 2".
    """
    found = [list(dict.fromkeys(filter(None, paths))) for paths in groups]
    owners = Counter(prefix for paths in found for prefix in set(_prefixes(paths)))
    return [_name(paths, owners) for paths in found]


def _prefixes(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        yield from accumulate(path.split("."), "{}.{}".format)


def _name(paths: list[str], owners: Counter[str]) -> str:
    if len(paths) < 2:
        return "".join(paths)
    shared = _shared(paths)
    if shared and owners[shared] == 1:
        return shared
    last = paths[-1].removeprefix(f"{shared}." if shared else "")
    return f"{paths[0]} to {last}"


def _shared(paths: Iterable[str]) -> str:
    """Return the longest path that all of them lie below, or are."""
    levels = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))
