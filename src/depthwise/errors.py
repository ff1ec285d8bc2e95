"""Every error that a user can meet.

A message states the rule first, then the actual values, then the problem in its one-line text form.
"""

from __future__ import annotations


def installs(extra: str) -> str:
    """Return what installs the optional packages of an extra of `pyproject.toml`, e.g. "bench".

    No package index has depthwise, so it is installed from a clone.
    """
    return f"pip install '.[{extra}]' in a clone of depthwise"


class DepthwiseError(Exception):
    """The base of all errors of this package."""


class SpecError(DepthwiseError, ValueError):
    """A problem that cannot exist: sizes, groups, padding, layout or activation do not fit."""


class ParseError(SpecError):
    """A line of text that is not a problem."""


class ArrayError(DepthwiseError, ValueError):
    """An array that does not fit the problem: rank, shape, device or memory overlap."""


class DTypeError(DepthwiseError, TypeError):
    """An array or specification whose element type or Python type is not supported."""


class PlanError(DepthwiseError, ValueError):
    """A plan that the schedule it names cannot carry out for this problem."""


class TargetError(DepthwiseError, ValueError):
    """A CPU that is not known, or code for a CPU that this machine cannot run."""


class MemoryBudgetError(DepthwiseError, ValueError):
    """A network that takes more memory than it may."""


class PeerError(DepthwiseError, RuntimeError):
    """A peer engine that is not installed, does not start, or gives wrong results."""


class LayerFileError(DepthwiseError, ValueError):
    """A workload or layer file that is missing or not in the documented form."""


class ModelError(DepthwiseError, ValueError):
    """A torch model that cannot be loaded, counted or optimized."""


class CacheWarning(UserWarning):
    """Something on disk is not used, or not kept; results are not affected."""


class InternalError(DepthwiseError, RuntimeError):
    """A fault of this package, not of the caller; please report it."""
