"""Run networks in OpenVINO, on the CPU. The only importer of openvino."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import Misconfigured, Unavailable
from worker.vision.runtimes import NetworkSource, Precision, first_line

if TYPE_CHECKING:
    import openvino

#: Version of the converted form: increment it when that changes while source and OpenVINO do not.
FORMAT = 1
FILE = "network.xml"


@cache
def load_openvino() -> Any:
    """Import OpenVINO, without its telemetry and without AMX; return the module.

    The first runtime that a process opens calls this, so that an import of this module changes neither
    ``sys.modules`` nor the environment. ``ONEDNN_MAX_CPU_ISA`` overrides the choice of instructions.
    """
    # OpenVINO reports its import to a server unless its telemetry package cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    # AMX tiles are too wide for networks this narrow: they make the detector 1.3 times slower
    # (bench/bench_amx.py).
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    return importlib.import_module("openvino")


class OpenVinoRuntime:
    """A network compiled for the CPU, for any batch size.

    A quantised network is read as it is. Others are converted once and cached in
    ``cache_dir/openvino/<key>/``. Batches of 1 to 16 take the same time with a free and with a fixed batch
    size (measured), so there is one compiled network and no padding.
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
            # OpenVINO chooses bfloat16 silently where the CPU has it, which changes scores.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads > 0:
            options["INFERENCE_NUM_THREADS"] = threads
        core = load_openvino().Core()
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
        """Return the precision in which the network runs."""
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
    """Convert the network into the folder unless it exists; one process converts while others wait.

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
        raise Misconfigured(f"Converted models cannot be stored in {folder.parent}: {reason}.") from error


def convert(source: NetworkSource) -> openvino.Model:
    """Convert the network to an OpenVINO model in single precision, for any batch size.

    Raises:
        Misconfigured: it cannot be built or converted.
    """
    import torch

    openvino = load_openvino()
    network = source.build()
    side = source.input_px
    # Two images, because some operations take a batch of one for a fixed size.
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # The tracer warns that it freezes the input's size, which is intended, and that it is deprecated.
            warnings.simplefilter("ignore")
            # YOLO's head computes its anchors in the first run, which must not be part of the trace.
            network(example)
            traced = torch.jit.trace(network, example, check_trace=False)
            model = openvino.convert_model(traced, example_input=example)
        model.reshape([-1, side, side, 3])
    except Exception as error:  # convert_model raises the bare class for an operation it does not know
        raise Misconfigured(f"The network cannot be converted for OpenVINO: {first_line(error)}") from error
    return model


def save(model: openvino.Model, path: Path, *, halved: bool = False) -> None:
    """Write a network as ``path`` (.xml) and a .bin; ``halved`` stores its floats in 16 bits."""
    load_openvino().save_model(model, path, compress_to_fp16=halved)


def _compile_converted(
    core: openvino.Core, source: NetworkSource, cache_dir: Path, options: dict[str, Any]
) -> openvino.CompiledModel:
    folder = cache_dir / "openvino" / _key(source)
    convert_once(source, folder)
    try:
        return core.compile_model(core.read_model(folder / FILE), "CPU", options)
    except RuntimeError:
        # A power cut may leave a half-written file: convert the weights once more.
        shutil.rmtree(folder, ignore_errors=True)
        convert_once(source, folder)
        return _compile(core, (folder / FILE,), options)


def _compile(core: openvino.Core, parts: Sequence[Any], options: dict[str, Any]) -> openvino.CompiledModel:
    try:
        return core.compile_model(core.read_model(*parts), "CPU", options)
    except RuntimeError as error:
        raise Misconfigured(f"OpenVINO cannot load the network: {first_line(error)}") from error


def _key(source: NetworkSource) -> str:
    parts = (source.key, str(source.input_px), load_openvino().get_version(), str(FORMAT))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the operating system releases it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
