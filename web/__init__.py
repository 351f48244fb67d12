"""The web service: API, pages and API documentation. Stateless; publishes ids and never pixels."""

#: Must agree with pyproject.toml; a test checks it.
__version__ = "0.2.0"
