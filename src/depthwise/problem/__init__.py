"""What is computed, and what that means: problems, their text, their costs and the oracle."""
