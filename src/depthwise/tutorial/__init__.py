"""What the pages of the tutorial draw and measure with; needs matplotlib and IPython."""

from depthwise.tutorial.measure import SHORT, conditions, keep_memory, limits, microseconds
from depthwise.tutorial.picture import Picture, canvas, picture
from depthwise.tutorial.prose import program, say, table

__all__ = [
    "SHORT",
    "Picture",
    "canvas",
    "conditions",
    "keep_memory",
    "limits",
    "microseconds",
    "picture",
    "program",
    "say",
    "table",
]
