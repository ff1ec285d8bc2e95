"""The functions that people call with arrays."""
