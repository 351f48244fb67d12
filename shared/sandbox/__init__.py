"""Decode untrusted pictures and manifests in child processes with hard limits.

Web and workers use ``PictureSandbox`` of ``pool``, whose children stay warm. ``shared.imports.sandboxed``
reads a Parquet, Excel or XML manifest in a separate child. Only ``child`` and its imports run inside.

This module imports nothing, because each child imports it: the pool and its log would double the start.
"""
