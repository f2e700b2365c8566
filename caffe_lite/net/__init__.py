"""A net: its layers made, connected, run, and their parameters' way in and out."""
