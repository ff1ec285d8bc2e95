"""`python -m depthwise`: the command line."""

from depthwise.cli import main

main()
