"""A net: making, connecting and running its layers, and loading and saving their parameters."""
