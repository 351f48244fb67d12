"""Storage of files: pictures and uploads, durable writes, and disk space."""
