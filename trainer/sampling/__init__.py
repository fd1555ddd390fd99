"""Training batches: real frames, warped frames, face shapes of nobody."""
