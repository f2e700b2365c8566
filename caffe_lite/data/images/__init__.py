"""Images: decoding them, and their sizes."""
