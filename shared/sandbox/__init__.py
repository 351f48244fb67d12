"""Decode untrusted pictures and manifests in child processes with hard limits.

Web and workers use ``pictures``, whose children ``pool`` keeps warm. ``shared.imports.sandboxed`` reads a
Parquet, Excel or XML manifest in a separate child. Only ``child`` and its imports run inside.
"""

from shared.sandbox.budget import Budget
from shared.sandbox.pool import ChildPool, PictureSandbox, shared_pool

__all__ = ["Budget", "ChildPool", "PictureSandbox", "shared_pool"]
