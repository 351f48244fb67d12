"""Run networks in PyTorch: half precision on CUDA, single precision on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import Misconfigured, Unavailable
from worker.vision.runtimes import NetworkSource, Precision, first_line


class TorchRuntime:
    """A network in PyTorch, in channels-last format."""

    def __init__(self, source: NetworkSource, *, device: str, threads: int, halve: bool = True) -> None:
        """Build the network and move it to the device, on CUDA in half precision if ``halve``.

        Raises:
            Misconfigured: no such device, or the network cannot be built.
        """
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise Misconfigured(f"models.device is {device}, but PyTorch finds no CUDA device: use cpu.")
        try:
            self._device = torch.device(device)
            network = source.build().to(self._device)
        except RuntimeError as error:
            raise Misconfigured(f"The network cannot be loaded on {device}: {first_line(error)}") from error
        self._precision: Precision = "fp32"
        if self._device.type == "cuda" and halve:
            network = network.half()
            self._precision = "fp16"
        elif self._device.type == "cpu" and threads > 0:
            torch.set_num_threads(threads)
        self._network = network.eval().to(memory_format=torch.channels_last)

    @property
    def precision(self) -> Precision:
        """Return the precision in which the network runs."""
        return self._precision

    def infer(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Run the network; see ``Runtime.infer``."""
        try:
            with torch.inference_mode():
                outputs = self._network(torch.from_numpy(batch).to(self._device))
                tensors = (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)
                return tuple(tensor.float().cpu().numpy() for tensor in tensors)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if "alloc" in str(error):  # the CPU allocator has no class of its own
                raise MemoryError(str(error)) from error
            raise Unavailable(f"PyTorch failed on {self._device}: {first_line(error)}") from error
