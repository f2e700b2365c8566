"""Processes that work on one thing together, on one machine or several, joined by torch.distributed."""
