"""Bundles, the engine, and the one path from landmarks to a picture."""
