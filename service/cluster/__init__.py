"""The same application on many machines, under Ray Serve. Nothing else of the service imports this, or Ray."""
