"""The log of a run: writing it, reading it, drawing it."""
