"""Runtimes: what runs a network on a device. One Protocol, two implementations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import Misconfigured

if TYPE_CHECKING:
    from torch import nn

RuntimeName = Literal["openvino", "torch"]
#: What is asked for; ``auto`` takes the fastest form whose loss is measured.
PrecisionChoice = Literal["auto", "fp32", "int8"]
#: What a network runs in.
Precision = Literal["fp32", "fp16", "int8"]


class Runtime(Protocol):
    """Runs one network."""

    @property
    def precision(self) -> Precision:
        """What the network runs in."""
        ...

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
        int8: reads the quantised form, OpenVINO's graph and numbers; None where there is none.
    """

    key: str
    input_px: int
    build: Callable[[], nn.Module]
    int8: Callable[[], tuple[bytes, bytes]] | None = None


def open_runtime(
    name: RuntimeName,
    source: NetworkSource,
    *,
    device: str,
    threads: int,
    cache_dir: Path,
    precision: PrecisionChoice = "auto",
) -> Runtime:
    """Return the network, loaded.

    Args:
        name: ``openvino`` runs on the CPU; ``torch`` on CPU or CUDA.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: inference threads; 0 for one a core.
        cache_dir: where converted networks are kept.
        precision: ``auto`` is the quantised form in OpenVINO where there is one, half precision on CUDA,
            else single.

    Raises:
        Misconfigured: no such runtime or device, no quantised form where one is asked for, or the network
            cannot be built.
    """
    if precision == "int8" and (name != "openvino" or source.int8 is None):
        raise Misconfigured(
            "models.precision is int8, but this model has no INT8 form, or models.runtime is not openvino: "
            "make one as docs/training.md says, or set models.precision to auto."
        )
    if name == "openvino":
        if device != "cpu":
            raise Misconfigured(
                f"The openvino runtime runs on cpu, not on {device}: set models.runtime to torch."
            )
        from worker.vision.runtimes.openvino_runtime import OpenVinoRuntime

        if precision == "fp32":
            source = replace(source, int8=None)
        return OpenVinoRuntime(source, threads=threads, cache_dir=cache_dir)
    if name == "torch":
        from worker.vision.runtimes.torch_runtime import TorchRuntime

        return TorchRuntime(source, device=device, threads=threads, halve=precision == "auto")
    raise Misconfigured(f"There is no runtime {name!r}: known are openvino and torch.")


def first_line(error: Exception) -> str:
    """Return what a vendor's error says first: the rest is traces of its insides, often long ones."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
