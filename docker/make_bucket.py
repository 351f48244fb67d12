"""Makes the bucket of the image store when it is not there: ``python docker/make_bucket.py``.

Reads the same settings as every process; does nothing for a folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from shared.settings import ImageSettings, get_settings


def make_bucket(images: ImageSettings) -> bool:
    """Make the bucket of ``images.url``; return whether it was missing."""
    place = urlsplit(images.url or "")
    if place.scheme != "s3":
        return False
    store = fsspec.filesystem(
        "s3",
        key=images.s3_key.get_secret_value() if images.s3_key else None,
        secret=images.s3_secret.get_secret_value() if images.s3_secret else None,
        endpoint_url=images.s3_endpoint,
        use_listings_cache=False,
    )
    if store.exists(place.netloc):
        return False
    store.mkdir(place.netloc)
    return True


if __name__ == "__main__":
    made = make_bucket(get_settings().images)
    print("the bucket was made" if made else "nothing to do")
