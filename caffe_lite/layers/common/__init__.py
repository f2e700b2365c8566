"""What several layers share: fillers, checked indices, how losses are normalised, reading batches ahead."""
