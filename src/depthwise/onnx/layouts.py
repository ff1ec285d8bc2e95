"""How a model that we write says that an image lies channels-last."""

LIES_NHWC = ":nhwc"
"""What the names of such inputs and outputs end with."""
