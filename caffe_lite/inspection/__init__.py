"""Facts about a net without running it (mistakes, shapes, costs), and the check of gradients."""
