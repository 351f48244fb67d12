"""The shopper's pages, rendered by the server so that they work without scripts and can be shared."""

from __future__ import annotations

from flask import Blueprint

from web.storefront import installed, own_search, products, shopper

blueprint = Blueprint("pages", __name__)
for _part in (shopper, own_search, products, installed):
    blueprint.register_blueprint(_part.blueprint)
