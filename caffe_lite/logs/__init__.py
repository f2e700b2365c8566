"""The log of a run: writing it, reading it and drawing it."""
