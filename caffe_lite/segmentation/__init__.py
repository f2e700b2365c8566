"""A class for each pixel: nets that find them (`labelling`), and colours for them (`palettes`)."""
