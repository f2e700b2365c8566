"""The engine on PyTorch, for CPUs and GPUs."""
