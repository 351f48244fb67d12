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
from shared.images.encoding import NormalisedImage, normalise, rendition

__all__ = [
    "CATALOGUE_FORMATS",
    "DEFAULT_FORMATS",
    "ImageInfo",
    "ImageLimits",
    "NormalisedImage",
    "decode",
    "normalise",
    "probe",
    "rendition",
]
