"""Run networks on a device: one protocol with two implementations."""

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
#: Precision as configured; ``auto`` is the fastest form whose loss is measured.
PrecisionChoice = Literal["auto", "fp32", "int8"]
#: Precision in which a network runs.
Precision = Literal["fp32", "fp16", "int8"]


class Runtime(Protocol):
    """Runs one network."""

    @property
    def precision(self) -> Precision:
        """Return the precision in which the network runs."""
        ...

    def infer(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Run the network on a batch.

        Args:
            batch: ``(N, H, W, 3) uint8`` RGB, contiguous, N >= 1, with the network's H and W. Channels are
                last, as in images; the network's own first layer normalises.

        Returns:
            The network's outputs, float32, N along the first axis of each.

        Raises:
            MemoryError: the device has no room for a batch of this size; a smaller one may work.
            Unavailable: the device failed otherwise.
        """
        ...


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """A network that is built only when it is needed.

    Attributes:
        key: identifies the network: hash of the weights and of everything that shapes the graph.
        input_px: side of the square input.
        build: builds the torch module, in evaluation mode, from ``(N, H, W, 3) uint8`` to its outputs.
            It imports torch, and is called only where no converted form is cached.
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
    """Load a network into a runtime.

    Args:
        name: ``openvino`` runs on the CPU; ``torch`` on CPU or CUDA.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: inference threads; 0 for one per core.
        cache_dir: folder of converted networks.
        precision: ``auto`` is the quantised form in OpenVINO if there is one, half precision on CUDA,
            else single.

    Raises:
        Misconfigured: no such runtime or device, no quantised form although one is required, or the network
            cannot be built.
    """
    if precision == "int8" and (name != "openvino" or source.int8 is None):
        raise Misconfigured(
            "models.precision is int8, but this model has no INT8 form, or models.runtime is not openvino: "
            "create one as in docs/training.md, or set models.precision to auto."
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
    """Return the first line of a vendor's error; the rest is often a long internal trace."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
