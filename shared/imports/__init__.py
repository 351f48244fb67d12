"""Imports: where their files come from, and how a manifest in them becomes products.

``kinds`` names what may be imported. ``opening`` opens it in the worker: a folder, an archive, an S3
prefix, a manifest alone. ``shared.imports.manifest`` reads its rows.
"""
