"""Kernels and whole networks as C and objects, for devices without Python."""
