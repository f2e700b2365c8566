"""The common parts of layers: fillers, checked indices, the normalisation of losses, reading batches ahead."""
