"""From a person's video to a bundle that the service can serve: prepare, train, evaluate, export."""
