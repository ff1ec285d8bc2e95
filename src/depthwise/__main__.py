"""`python -m depthwise`: the command line."""

from depthwise.commands.cli import main

main()
