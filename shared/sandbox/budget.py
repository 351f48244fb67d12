"""Limits of memory and time for one input in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Input file, encoded output, and decoder memory besides pixels.
_BASE_BYTES: Final = 64 * 2**20
#: Pillow stores four bytes per pixel; the decoder's planes, the copy without alpha and the resized copy exist
#: at the same time. 12 is the maximum measured over all accepted formats.
_BYTES_PER_PIXEL: Final = 12

#: Processor time and deadline of a shopper's photo; the largest allowed one takes a second of processor time.
SHOPPER_SECONDS: Final = (2.0, 5.0)
#: Processor time and deadline of a catalogue picture, which is three times as large, while a model uses all
#: cores.
CATALOGUE_SECONDS: Final = (10.0, 30.0)
#: How long a request waits for a free child.
SHOPPER_WAIT_S: Final = 1.0
#: How long a worker's thread waits for a free child; it has as many children as threads.
WORKER_WAIT_S: Final = 60.0
TOO_EXPENSIVE: Final = (
    "The picture is too expensive to decode: it takes more memory or processor time than any ordinary "
    "picture. Save it again as a plain JPEG and send that."
)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one request to a child, which is killed and replaced when it exceeds one.

    Attributes:
        memory_bytes: address space above that of the idle child (RLIMIT_AS).
        cpu_s: processor time of all threads of the child.
        wall_s: time until the answer, for a child that waits for ever.
    """

    memory_bytes: int
    cpu_s: float
    wall_s: float


def memory_for(max_pixels: int) -> int:
    """Return the address space in bytes that decoding a picture of ``max_pixels`` may need."""
    return _BASE_BYTES + _BYTES_PER_PIXEL * max_pixels
