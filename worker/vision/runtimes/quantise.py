"""INT8 by post-training quantisation. The only importer of nncf; runs when a model is made, never to serve.

Weights keep seven of their eight bits: without VNNI a CPU adds products of two bytes in sixteen bits, and
full weights would overflow there. What is quantised measured alike on CPUs with it and without.
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

#: Layers with weights, from the front and from the end, that stay in single precision. Measured one block
#: at a time: EfficientNet-Lite0's first three blocks add up the even background of product photos, and one
#: step of rounding there moves all of it; its last ones hold what tells like products apart.
SINGLE: dict[str, tuple[int, int]] = {"efficientnet-lite0": (6, 17)}
SINGLE_ELSEWHERE = (1, 1)
WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")


def quantise(source: NetworkSource, architecture: str, pictures: Sequence[Image]) -> Any:
    """Return the network with INT8 layers, an ``openvino.Model``.

    Args:
        source: of the network, whose ``int8`` is not looked at.
        architecture: as the registry has it; says which layers stay in single precision.
        pictures: ``(S, S, 3) uint8`` as the network takes them: what it will see, some hundreds.

    Raises:
        Misconfigured: the network cannot be built or converted.
    """
    model = convert(source)
    # After load_openvino, which disables telemetry: nncf reports through the same package.
    import nncf

    nncf.set_log_level(logging.ERROR)
    yolo = architecture.startswith("yolo")
    # Its bars and notes are no part of a command's answer.
    with contextlib.redirect_stdout(sys.stderr):
        return nncf.quantize(
            model,
            nncf.Dataset([picture[None] for picture in pictures]),
            subset_size=len(pictures),
            # SiLU's outputs lie on both sides of zero, unevenly; those of ReLU and ReLU6 do not.
            preset=nncf.QuantizationPreset.MIXED if yolo else nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(names=_of_head(model) if yolo else _at_ends(model, architecture)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )


def write_form(model: Any, folder: Path, name: str, of: str, end_to_end: bool = False) -> dict[str, Any]:
    """Write the quantised model as ``<name>-int8.xml`` and ``.bin``; return its entry for the registry.

    Args:
        of: SHA-256 of the weights that were quantised.
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


def _at_ends(model: Any, architecture: str) -> list[str]:
    """Names of the layers with weights at the front and at the end that stay as they are."""
    first, last = SINGLE.get(architecture, SINGLE_ELSEWHERE)
    weighted = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in WEIGHTED]
    return [*weighted[:first], *weighted[len(weighted) - last :]]


def _of_head(model: Any) -> list[str]:
    """Names of a YOLO's first layer, of the last layer of each branch, and of all that turns them into boxes.

    A rounding step of a box's distance would be pixels, and the sum of many classes' steps is a confidence.
    """
    names = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() != "Constant"]
    head = max(int(n) for n in re.findall(r"network\.model\.(\d+)\.", "\n".join(names)))
    plain = re.compile(
        rf"__module\.network\.model\.(0\.conv/|{head}/|{head}\.dfl|{head}\.(one2one_)?cv\d\.\d\.2/)"
    )
    kinds = (*WEIGHTED, "Add", "Subtract", "Multiply", "Divide")
    wanted = {op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in kinds}
    return [name for name in names if name in wanted and plain.match(name)]
