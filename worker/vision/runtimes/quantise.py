"""Quantise networks to INT8 after training. The only importer of nncf; never used while serving.

Weights use seven of their eight bits: without VNNI a CPU accumulates products of two bytes in sixteen bits,
where full weights would overflow. Quantised networks measured the same on CPUs with and without VNNI.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worker.vision import Image
from worker.vision.runtimes import NetworkSource
from worker.vision.runtimes.openvino_runtime import convert, save

#: Number of first and last layers with weights that stay in single precision. Measured block by block:
#: EfficientNet-Lite0's first three blocks sum the even background of product photos, where one rounding step
#: shifts everything; its last ones distinguish similar products.
FP32_LAYERS: dict[str, tuple[int, int]] = {"efficientnet-lite0": (6, 17)}
DEFAULT_FP32_LAYERS = (1, 1)
#: OpenVINO operations with weights.
WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")


def quantise(source: NetworkSource, architecture: str, pictures: Sequence[Image]) -> Any:
    """Quantise a network; return an ``openvino.Model`` with INT8 layers.

    Args:
        source: of the network; its ``int8`` is ignored.
        architecture: as in the registry; determines which layers stay in single precision.
        pictures: ``(S, S, 3) uint8``, some hundreds of typical inputs.

    Raises:
        Misconfigured: the network cannot be built or converted.
    """
    model = convert(source)
    # After load_openvino, which disables telemetry: nncf reports through the same package.
    import nncf

    nncf.set_log_level(logging.ERROR)
    yolo = architecture.startswith("yolo")
    fp32_layers = _head_layers(model) if yolo else _end_layers(model, architecture)
    # nncf prints progress bars, which must not mix with a command's output.
    with contextlib.redirect_stdout(sys.stderr):
        return nncf.quantize(
            model,
            nncf.Dataset([picture[None] for picture in pictures]),
            subset_size=len(pictures),
            # SiLU's outputs are asymmetric around zero; those of ReLU and ReLU6 are not negative.
            preset=nncf.QuantizationPreset.MIXED if yolo else nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(names=fp32_layers),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )


def write_form(model: Any, folder: Path, name: str, of: str, end_to_end: bool = False) -> dict[str, Any]:
    """Write a quantised model as ``<name>-int8.xml`` and ``.bin``; return its registry entry.

    Args:
        of: SHA-256 of the original weights.
    """
    graph, numbers = (folder / f"{name}-int8{ending}" for ending in (".xml", ".bin"))
    save(model, graph, halved=True)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (graph, numbers)]
    return {
        "graph": graph.name,
        "graph_sha256": digests[0],
        "numbers": numbers.name,
        "numbers_sha256": digests[1],
        "of": of,
        "end_to_end": end_to_end,
    }


def _end_layers(model: Any, architecture: str) -> list[str]:
    """Return the names of first and last layers with weights that stay in single precision."""
    first, last = FP32_LAYERS.get(architecture, DEFAULT_FP32_LAYERS)
    weighted = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in WEIGHTED]
    return [*weighted[:first], *weighted[len(weighted) - last :]]


def _head_layers(model: Any) -> list[str]:
    """Return the names of a YOLO's first layer, last layers of its branches, and box decoding.

    There a rounding step would move a box by pixels, or change a confidence visibly.
    """
    names = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() != "Constant"]
    head = max(int(n) for n in re.findall(r"network\.model\.(\d+)\.", "\n".join(names)))
    plain = re.compile(
        rf"__module\.network\.model\.(0\.conv/|{head}/|{head}\.dfl|{head}\.(one2one_)?cv\d\.\d\.2/)"
    )
    kinds = (*WEIGHTED, "Add", "Subtract", "Multiply", "Divide")
    candidates = {op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in kinds}
    return [name for name in names if name in candidates and plain.match(name)]
