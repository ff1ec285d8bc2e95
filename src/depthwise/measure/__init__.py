"""The clock, the memory, the limits of the machine, and a process for each engine."""
