"""A network as a graph of our own: what any front end reads into, and what runs without one."""
