"""Depthwise and depthwise-separable convolution at the speed of the hardware.

The names below are imported where they are first used: to serve a network takes few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from depthwise import errors
from depthwise.commands import interrupts as _interrupts  # noqa: F401 (Ctrl-C ends what follows)
from depthwise.version import __version__ as __version__

if TYPE_CHECKING:
    from depthwise.compiler import compile, explain  # noqa: A004
    from depthwise.exporting.export import export
    from depthwise.functions.blocks import inverted_residual, separable_conv2d
    from depthwise.functions.causal import causal_conv1d, causal_conv1d_update
    from depthwise.functions.convolutions import (
        depthwise_conv1d,
        depthwise_conv2d,
        pointwise_conv2d,
    )
    from depthwise.functions.layouts import from_tensorflow_filter, pack_nchwc, unpack_nchwc
    from depthwise.loading import load
    from depthwise.network.network import Network
    from depthwise.problem.block import BlockSpec
    from depthwise.problem.costs import cost
    from depthwise.problem.data import random_problem
    from depthwise.problem.parse import parse
    from depthwise.problem.spec import ConvSpec
    from depthwise.quantizing import quantize
    from depthwise.schedule.plan import BlockPlan, Plan
    from depthwise.tuning.tuner import tune

__all__ = [
    "BlockPlan",
    "BlockSpec",
    "ConvSpec",
    "Network",
    "Plan",
    "causal_conv1d",
    "causal_conv1d_update",
    "compile",
    "cost",
    "depthwise_conv1d",
    "depthwise_conv2d",
    "errors",
    "explain",
    "export",
    "from_tensorflow_filter",
    "inverted_residual",
    "load",
    "pack_nchwc",
    "parse",
    "pointwise_conv2d",
    "quantize",
    "random_problem",
    "separable_conv2d",
    "tune",
    "unpack_nchwc",
]

_HOMES = {
    "depthwise.compiler": ("compile", "explain"),
    "depthwise.exporting.export": ("export",),
    "depthwise.functions.blocks": ("inverted_residual", "separable_conv2d"),
    "depthwise.functions.causal": ("causal_conv1d", "causal_conv1d_update"),
    "depthwise.functions.convolutions": (
        "depthwise_conv1d",
        "depthwise_conv2d",
        "pointwise_conv2d",
    ),
    "depthwise.functions.layouts": ("from_tensorflow_filter", "pack_nchwc", "unpack_nchwc"),
    "depthwise.loading": ("load",),
    "depthwise.network.network": ("Network",),
    "depthwise.problem.block": ("BlockSpec",),
    "depthwise.problem.costs": ("cost",),
    "depthwise.problem.data": ("random_problem",),
    "depthwise.problem.parse": ("parse",),
    "depthwise.problem.spec": ("ConvSpec",),
    "depthwise.quantizing": ("quantize",),
    "depthwise.schedule.plan": ("BlockPlan", "Plan"),
    "depthwise.tuning.tuner": ("tune",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
