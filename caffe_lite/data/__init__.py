"""The sources of batches: databases, the images in them, and their way into arrays."""
