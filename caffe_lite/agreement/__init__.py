"""Whether two forms of a net compute the same."""
