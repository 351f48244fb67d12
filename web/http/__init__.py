"""HTTP plumbing: access, bodies, limits, errors, and the server."""
