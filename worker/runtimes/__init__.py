"""Runtimes: what runs a network on a device. One Protocol, two implementations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import Misconfigured

if TYPE_CHECKING:
    from torch import nn

RuntimeName = Literal["openvino", "torch"]


class Runtime(Protocol):
    """Runs one network."""

    def infer(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Run the network on a batch.

        Args:
            batch: ``(N, H, W, 3) uint8`` RGB, contiguous, H and W as the network was built for, N >= 1.
                Channels come last because images are held so; the network's own first step normalises.

        Returns:
            The network's outputs, float32, N along the first axis of each.

        Raises:
            MemoryError: the device has no room for a batch of this size; a smaller one may work.
            Unavailable: the device failed otherwise.
        """
        ...


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """A network that can be built when it is needed.

    Attributes:
        key: changes when the network does: hash of the weights and of all that shapes the graph.
        input_px: side of the square input.
        build: makes the torch module, in evaluation mode, from ``(N, H, W, 3) uint8`` to its outputs.
            Called only where no converted form is cached: it is what needs torch.
    """

    key: str
    input_px: int
    build: Callable[[], nn.Module]


def open_runtime(
    name: RuntimeName, source: NetworkSource, *, device: str, threads: int, cache_dir: Path
) -> Runtime:
    """Return the network, loaded.

    Args:
        name: ``openvino`` runs on the CPU; ``torch`` on CPU or CUDA.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: inference threads; 0 for one a core.
        cache_dir: where converted networks are kept.

    Raises:
        Misconfigured: no such runtime or device, or the network cannot be built.
    """
    if name == "openvino":
        if device != "cpu":
            raise Misconfigured(
                f"The openvino runtime runs on cpu, not on {device}: set models.runtime to torch."
            )
        from worker.runtimes.openvino_runtime import OpenVinoRuntime

        return OpenVinoRuntime(source, threads=threads, cache_dir=cache_dir)
    if name == "torch":
        from worker.runtimes.torch_runtime import TorchRuntime

        return TorchRuntime(source, device=device, threads=threads)
    raise Misconfigured(f"There is no runtime {name!r}: known are openvino and torch.")


def first_line(error: Exception) -> str:
    """Return what a vendor's error says first: the rest is traces of its insides, often long ones."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
