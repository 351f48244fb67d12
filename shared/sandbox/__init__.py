"""The fence around hostile input: pictures and manifests are decoded in child processes with hard limits.

``pool`` keeps the children of pictures warm, ``pictures`` is what web and workers call, ``parquet`` reads
a Parquet manifest in a child of its own. Only ``child`` and what it imports run inside.
"""

from shared.sandbox.budget import Budget
from shared.sandbox.pictures import PictureSandbox
from shared.sandbox.pool import ChildPool, shared_pool

__all__ = ["Budget", "ChildPool", "PictureSandbox", "shared_pool"]
