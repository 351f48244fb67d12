"""The pages of shop owners and operators, rendered by the server; scripts only refresh them.

They call the same repositories and helpers as the views under /v1 and contain no rules of their own.
"""

from web.manage import access, catalogues, duplicates, imports, indexes, jobs, operations, products, ranking
from web.manage.frame import blueprint

__all__ = [
    "access",
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
