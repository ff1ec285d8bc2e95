"""The machine: the CPU that code is made for, and the one team of threads."""
