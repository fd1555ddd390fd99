"""One visible loop each: converter, generator, detector; with optimisers, checkpoints, log and processes."""
