"""The one-line text form of a problem, read back: `parse(str(spec)) == spec`."""

from __future__ import annotations

from typing import cast

from depthwise.errors import ParseError
from depthwise.problem.families import BY_KIND, is_specification
from depthwise.problem.problem import Problem
from depthwise.problem.values import meant, shown

LONGEST = 400
"""The characters of a line."""


def parse(text: str) -> Problem:
    """Read a problem from its one-line text form.

    A kind (depthwise, depthwise1d, pointwise, conv, separable, inverted), then tokens in any
    order, defaults left out: sizes `n c o e h w hw l`, window `k s p d m g` (`3` or `3x5`; p also
    `1,2` for height and width, `0,1,0,1` for top, bottom, left and right, or same, valid, causal),
    layout, dtype, padding mode, `bias`, activation, `residual`, `se6`.  Before a depthwise
    convolution, one of input_gradient, weight_gradient, backward, training makes it that pass.
    mean and norm, of pixels, have `c n h w hw`, nhwc, a dtype and, the latter, `eps1e-6`;
    elementwise has these and functions in their order, `mul.channel add.image relu`, which a
    convolution of nhwc images has behind the word `then`.
    gather has `c8,8`, the channels of each image, and runs of them, `a[0:8] b[0:4]/b[4:8]`;
    `x@64`, of nhwc images in networks, says that pixels of x lie 64 elements from each other.
    maxpool and avgpool have what a depthwise convolution of nhwc images has, the latter `padded`.
    quantize, dequantize, lookup, qadd, qmul, qmean, of quantized images, have `c n h w hw`, nhwc,
    uint8 or int8 and, qmul, `gate`.
    attention has `c o n h w hw`, `keys49`, `heads2`, nhwc, a dtype, `bias`, `scale0.125`.
    causal, of sequences, has `c n l k d`, ncl or nlc, a dtype, `bias`, an activation and
    `state3`, how long a state is; causal_gradient before it makes it its gradients.

    >>> str(parse("depthwise hw56 c144 p1,1 k3x3"))
    'depthwise c144 hw56 k3 p1'

    Raises:
        ParseError: a token is not known, given twice, or missing.
        SpecError: the problem that the line names cannot exist.
    """
    if not isinstance(text, str):
        raise ParseError(f"a problem is a line of text; got {shown(text)}")
    if len(text) > LONGEST:
        raise ParseError(f"a problem is a line of at most {LONGEST} characters; got {len(text)}")
    text = " ".join(text.split())
    if not text.isprintable():
        raise ParseError(f"a problem is a line of printable text; got {shown(text)}")
    kind, *tokens = text.split(" ")
    if kind not in BY_KIND:
        got = f"{text!r}{meant(kind, BY_KIND)}"
        raise ParseError(f"a problem begins with one of {', '.join(BY_KIND)}; got {got}")
    problem: Problem = BY_KIND[kind].read(kind, tokens, text)
    return problem


def specification(problem: Problem | str) -> Problem:
    """Return a problem that is given as a specification or in its text form; see `parse`."""
    return problem if is_specification(problem) else parse(cast("str", problem))
