"""Where the tensors of a network lie in one arena, and what is computed row by row."""
