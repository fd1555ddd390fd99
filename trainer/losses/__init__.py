"""One function per loss term, the masks that weigh pixels, and the frozen guidance networks."""
