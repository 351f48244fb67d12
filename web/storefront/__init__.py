"""The shopper's pages, rendered by the server so that they work without scripts and can be shared."""

from __future__ import annotations

from flask import Blueprint

from web.storefront import brand, installed, own_search, products, shopper, widget

blueprint = Blueprint("pages", __name__)
for _part in (shopper, own_search, products, brand, installed, widget):
    blueprint.register_blueprint(_part.blueprint)
