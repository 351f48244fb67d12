"""Refuse `pip install` of this folder: the server runs from its checkout, and has no package of its own name.

Its packages are called web, worker, shared and cli. In another project's environment they would hide, or be
hidden by, modules of those names.
"""

import sys

sys.exit(
    "Vitrine's server is not installed with pip: `make run` starts it from this folder, and docker/ has its "
    "images. The Python client for a shop's own code is: pip install ./clients/python"
)
