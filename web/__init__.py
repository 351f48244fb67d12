"""The HTTP side: API, page, documentation. Stateless; publishes ids, never pixels."""

#: Must agree with pyproject.toml; a test holds them together.
__version__ = "0.2.0"
