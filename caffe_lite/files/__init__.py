"""Files: their paths, HDF5, and writing that leaves the old or the new file at every moment."""
