"""Read the files of imports, and their manifests as products.

``kinds`` lists the supported files. ``opening`` opens a folder, an archive, an S3 prefix or a single manifest
in the worker. ``manifest`` reads the rows.
"""
