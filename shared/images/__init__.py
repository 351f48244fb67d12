"""Decode untrusted pictures to upright RGB arrays and clean files.

The only importer of Pillow and pillow_heif. All functions are thread-safe.
"""

from shared.images.decoding import (
    CATALOGUE_FORMATS,
    DEFAULT_FORMATS,
    ImageInfo,
    ImageLimits,
    decode,
    probe,
)
from shared.images.encoding import QUERY_MAX_BYTES, QUERY_SIDE_PX, NormalisedImage, normalise, rendition

__all__ = [
    "CATALOGUE_FORMATS",
    "DEFAULT_FORMATS",
    "QUERY_MAX_BYTES",
    "QUERY_SIDE_PX",
    "ImageInfo",
    "ImageLimits",
    "NormalisedImage",
    "decode",
    "normalise",
    "probe",
    "rendition",
]
