"""What is kept on disk: compiled kernels, and what tuning learnt."""
