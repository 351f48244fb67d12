"""The pages of whoever keeps a catalogue or runs the server. Server-rendered: scripts only make them live.

They call what the views under /v1 call; nothing is decided here that the API decides.
"""

from web.manage import catalogues, duplicates, imports, indexes, jobs, operations, products, ranking
from web.manage.frame import blueprint

__all__ = [
    "blueprint",
    "catalogues",
    "duplicates",
    "imports",
    "indexes",
    "jobs",
    "operations",
    "products",
    "ranking",
]
