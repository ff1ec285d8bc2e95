"""Functions of each element: how their lines are read, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from depthwise.errors import ParseError
from depthwise.problem.counting import moved
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import elementwise as oracle
from depthwise.problem.tokens import Line, chain_of, is_link


def _read(kind: str, tokens: Sequence[str], text: str) -> ElementwiseSpec:
    links = [token for token in tokens if is_link(token)]
    fields = Line(kind, [token for token in tokens if token not in links], text).fields
    size = fields.pop("size", None)
    sizes = {} if size is None else {"height": size, "width": size}
    if fields.pop("layout", None) != ElementwiseSpec.layout:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    try:
        chain = chain_of(links, text) if links else ()
        return ElementwiseSpec(chain=chain, **sizes, **fields)
    except TypeError:
        raise ParseError(f"{kind} has c, hw or h and w, n, dtype, and functions: {text}") from None


def _products(spec: ElementwiseSpec) -> list[float]:
    """Return one unit for each function, on data that none of them amplifies."""
    return [1.0] * len(spec.chain)


FAMILY = Family(
    specification=ElementwiseSpec,
    kinds=(ElementwiseSpec.kind,),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=moved,
)
