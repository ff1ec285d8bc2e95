"""Our operators in torch's counter of FLOPs, `torch.utils.flop_counter.FlopCounterMode`."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from depthwise.torch.mac_rules import arguments_of, macs_of


def count_flops(operator: torch._ops.OpOverloadPacket) -> None:
    """Have torch count the calls of an operator: two FLOPs for each MAC.

    (torch counts the weight gradient of `nn.Conv2d` with groups once more for each of them; ours
    are the products that are computed.)
    """

    def flops(*args: Any, out_val: Any, **kwargs: Any) -> int:
        return 2 * macs_of_call(operator, args, out_val, **kwargs)

    register_flop_formula(operator, get_raw=True)(flops)


def macs_of_call(
    operator: torch._ops.OpOverloadPacket, args: tuple[Any, ...], output: Any, **kwargs: Any
) -> int:
    """Return the MACs of a call of one of our operators."""
    overload: Any = operator.default
    macs = macs_of(overload._schema.name, arguments_of(overload, args, kwargs), output)
    assert macs is not None
    return macs
