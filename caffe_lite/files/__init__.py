"""Files: their paths, HDF5, and writing so that a file is the old or the new one at every moment."""
