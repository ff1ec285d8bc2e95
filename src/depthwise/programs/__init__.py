"""From a plan to machine code: the only room that imports TVM."""
