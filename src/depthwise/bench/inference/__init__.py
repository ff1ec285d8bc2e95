"""Whole networks: how fast each engine runs them, and what memory and preparation that takes."""
