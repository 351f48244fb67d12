"""Connect commands to the server at ``VITRINE_URL``, or to the one on the data folder."""

from __future__ import annotations

import os

from cli.client import VitrineClient
from cli.services.addresses import local_url
from cli.services.run_state import read_run_state
from shared.settings import get_settings

URL_VARIABLE = "VITRINE_URL"
KEY_VARIABLE = "VITRINE_API_KEY"


def connect(timeout_s: float = 30.0) -> VitrineClient:
    """Return a client for the environment.

    The API key of the local settings is sent to the local server only.
    """
    url, key = os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE)
    if url:
        return VitrineClient(url, key, timeout_s)
    settings = get_settings()
    state = read_run_state(settings.data_dir)
    if key is None and settings.web.api_key is not None:
        key = settings.web.api_key.get_secret_value()
    return VitrineClient(state.url if state else local_url(settings), key, timeout_s)
