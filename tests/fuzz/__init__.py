"""Hostile testing: calls, command lines, kills, forks and disks drawn with a seed of chance.

`python -m fuzz` (which is `make fuzz`) runs the parts of `parts.py` one after the other.  Each is
tried in a process of its own, a `worker`, so that a crash is an outcome and not the end.
"""
