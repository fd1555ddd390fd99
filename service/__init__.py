"""Bundle to HTTP: a FastAPI application, made by `service.app.create_app`."""

__version__ = "0.1.0"
