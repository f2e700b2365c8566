"""Random and planned changes to images before they are cropped, and to the boxes of their objects."""
