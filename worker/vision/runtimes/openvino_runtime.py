"""Networks in OpenVINO, on the CPU. The only importer of openvino."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import Misconfigured, Unavailable
from worker.vision.runtimes import NetworkSource, Precision, first_line

# openvino reports its own import to a server unless its telemetry package cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# AMX, which would be taken where it is there, is too wide for networks so narrow: with it a picture takes the
# detector 1.3 times as long (bench/bench_amx.py). Whoever has others may say otherwise.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")

import openvino  # noqa: E402

#: Raise it when the converted form changes though source and OpenVINO do not.
FORMAT = 1
FILE = "network.xml"


class OpenVinoRuntime:
    """A network compiled for the CPU, for any batch size.

    A quantised network is read as it is. Others are converted once and kept in
    ``cache_dir/openvino/<key>/``. Batches of 1 to 16 measured alike with a
    free batch size and with a fixed one, so there is one compiled network and no padding of batches.
    """

    def __init__(self, source: NetworkSource, *, threads: int, cache_dir: Path) -> None:
        """Load the converted network, converting it first where it is not cached.

        Raises:
            Misconfigured: the network cannot be built or converted, or the cache cannot be written.
        """
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Pinned threads of two lanes on one machine would wait for each other's cores.
            "ENABLE_CPU_PINNING": False,
            # bfloat16 would be chosen silently where the CPU has it, and move the scores.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads > 0:
            options["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        self._precision: Precision = "fp32" if source.int8 is None else "int8"
        if source.int8 is not None:
            compiled = _compile(core, source.int8(), options)
        else:
            compiled = _compile_converted(core, source, cache_dir, options)
        self._request = compiled.create_infer_request()
        self._outputs = range(len(compiled.outputs))
        self._lock = threading.Lock()

    @property
    def precision(self) -> Precision:
        """What the network runs in."""
        return self._precision

    def infer(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Run the network; see ``Runtime.infer``. Callers on several threads take turns."""
        try:
            with self._lock:
                results = self._request.infer([batch], share_inputs=True)
                return tuple(np.array(results[index], np.float32) for index in self._outputs)
        except RuntimeError as error:
            if "alloc" in str(error):
                raise MemoryError(str(error)) from error
            raise Unavailable(f"OpenVINO failed: {first_line(error)}") from error


def convert_once(source: NetworkSource, folder: Path) -> None:
    """Convert the network into the folder unless it is there; one process does it while others wait.

    Raises:
        Misconfigured: the network cannot be converted, or the folder cannot be written.
    """
    if (folder / FILE).exists():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(folder.name + ".lock")):
            if (folder / FILE).exists():
                return
            fresh = folder.with_name(folder.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            save(convert(source), fresh / FILE)
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Misconfigured(f"Converted models cannot be kept in {folder.parent}: {reason}.") from error


def convert(source: NetworkSource) -> openvino.Model:
    """Return the network as OpenVINO has it, in single precision, for any batch size.

    Raises:
        Misconfigured: it cannot be built or converted.
    """
    import torch

    network = source.build()
    side = source.input_px
    # Two images: a batch of one would be taken for a fixed size by some operations.
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # What the tracer fixes (the input's size) is fixed; that it is deprecated, OpenVINO must solve.
            warnings.simplefilter("ignore")
            # YOLO's head computes its anchors in the first run; traced, they would not be constants.
            network(example)
            traced = torch.jit.trace(network, example, check_trace=False)
            model = openvino.convert_model(traced, example_input=example)
        model.reshape([-1, side, side, 3])
    except Exception as error:  # convert_model raises the bare class for an operation it does not know
        raise Misconfigured(f"The network cannot be converted for OpenVINO: {first_line(error)}") from error
    return model


def save(model: openvino.Model, path: Path, *, halved: bool = False) -> None:
    """Write a network as ``path`` (.xml) and the .bin beside it; ``halved`` keeps its floats in 16 bits."""
    openvino.save_model(model, path, compress_to_fp16=halved)


def _compile_converted(
    core: openvino.Core, source: NetworkSource, cache_dir: Path, options: dict[str, Any]
) -> openvino.CompiledModel:
    folder = cache_dir / "openvino" / _key(source)
    convert_once(source, folder)
    try:
        return core.compile_model(core.read_model(folder / FILE), "CPU", options)
    except RuntimeError:
        # A file that a power cut left half written: once more from the weights.
        shutil.rmtree(folder, ignore_errors=True)
        convert_once(source, folder)
        return _compile(core, (folder / FILE,), options)


def _compile(core: openvino.Core, parts: Sequence[Any], options: dict[str, Any]) -> openvino.CompiledModel:
    try:
        return core.compile_model(core.read_model(*parts), "CPU", options)
    except RuntimeError as error:
        raise Misconfigured(f"OpenVINO cannot load the network: {first_line(error)}") from error


def _key(source: NetworkSource) -> str:
    parts = (source.key, str(source.input_px), openvino.get_version(), str(FORMAT))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the system frees it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
