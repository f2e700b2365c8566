"""Where batches come from: databases, the images in them, their way into arrays."""
