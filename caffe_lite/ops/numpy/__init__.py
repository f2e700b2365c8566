"""The engine on NumPy: the reference, which needs nothing else."""
