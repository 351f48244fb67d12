"""What one piece of input may cost inside the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Input file, encoded output, and what the decoders keep besides pixels.
_BASE_BYTES: Final = 64 * 2**20
#: Pillow keeps four bytes a pixel; a decoder's own planes, the copy without alpha and the resized copy
#: exist at the same time. 12 is the largest that any accepted format was measured to need.
_BYTES_PER_PIXEL: Final = 12

#: Processor time and deadline of a shopper's photo; the largest that is allowed takes a second of the first.
SHOPPER_SECONDS: Final = (2.0, 5.0)
#: The same of a catalogue picture, three times as large, beside a model that takes all cores.
CATALOGUE_SECONDS: Final = (10.0, 30.0)
#: How long a request waits for a free child.
SHOPPER_WAIT_S: Final = 1.0
#: The same in a worker, whose threads are as many as its children.
WORKER_WAIT_S: Final = 60.0
TOO_EXPENSIVE: Final = (
    "The picture is too expensive to decode: it takes more memory or processor time than any ordinary "
    "picture. Save it again as a plain JPEG and send that."
)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one request to a child; over one of them the child is killed and replaced.

    Attributes:
        memory_bytes: address space above what the idle child has (RLIMIT_AS).
        cpu_s: processor time of the child, all its threads together.
        wall_s: time until the answer, which covers a child that waits for ever.
    """

    memory_bytes: int
    cpu_s: float
    wall_s: float


def memory_for(max_pixels: int) -> int:
    """Return the address space in bytes that a picture of ``max_pixels`` may need while it is decoded."""
    return _BASE_BYTES + _BYTES_PER_PIXEL * max_pixels
