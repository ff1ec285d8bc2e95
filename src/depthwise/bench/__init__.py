"""Measure depthwise convolution here, beside every engine that a user would pick instead."""
