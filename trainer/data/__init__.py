"""Media to frames, landmarks and a dataset with its splits."""
