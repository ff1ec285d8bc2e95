"""What every problem means, straight from the equations; `depthwise.problem.reference` calls it.

Nothing here is meant to be fast, and of this package only the problems themselves are imported.
"""
