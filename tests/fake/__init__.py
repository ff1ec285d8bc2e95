"""An engine that is the oracle itself, and the ways in which an engine can go wrong."""
