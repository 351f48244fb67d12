"""HTTP plumbing: access checks, bodies, limits, errors and the server."""
