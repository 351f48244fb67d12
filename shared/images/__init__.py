"""Safe pictures: bytes that strangers sent in, upright RGB arrays and clean files out.

The only importer of Pillow and pillow_heif. Everything here is safe to call from many threads.
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
