"""The installable app: web app manifest, service worker and offline page."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, jsonify, render_template, url_for
from flask_babel import gettext as _

from web.http.path_prefix import script_root
from web.http.security import PAGE_POLICY
from web.i18n import reader
from web.storefront.brand import current_brand

blueprint = Blueprint("installed", __name__)

STATIC = Path(__file__).parent.parent / "static"
BACKGROUND = "#faf7f2"
_ICONS = (
    ("icon-192.png", 192, "any"),
    ("icon-512.png", 512, "any"),
    ("icon-maskable-512.png", 512, "maskable"),
)
#: Files that the service worker caches at the first visit; results are never cached.
_SHELL = ("vitrine.css", "shop.css", "icon.svg", "icons/icon-192.png")


@cache
def hash_folder(folder: Path) -> str:
    """Return a hash of a folder's contents, which versions the addresses of its files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


@blueprint.get("/manifest.webmanifest")
def get_manifest() -> Response:
    """Serve the web app manifest, with which phones install the app and share photos to it."""
    who, root = reader(), script_root()
    answer = jsonify(
        {
            "id": f"{root}/",
            "name": current_brand().name,
            "short_name": current_brand().name,
            "description": _("Find products by photo."),
            "lang": who.tag,
            "dir": who.locale.text_direction,
            "start_url": f"{root}/",
            "scope": f"{root}/",
            "display": "standalone",
            "background_color": BACKGROUND,
            "theme_color": BACKGROUND,
            "categories": ["shopping"],
            "icons": [
                {
                    "src": url_for("static", filename=f"icons/{name}"),
                    "sizes": f"{side}x{side}",
                    "type": "image/png",
                    "purpose": purpose,
                }
                for name, side, purpose in _ICONS
            ],
            "share_target": {
                "action": f"{root}/s?shared=1",
                "method": "POST",
                "enctype": "multipart/form-data",
                "params": {"files": [{"name": "image", "accept": ["image/*"]}]},
            },
        }
    )
    answer.mimetype = "application/manifest+json"
    return answer


@blueprint.get("/sw.js")
def get_service_worker() -> Response:
    """Serve the service worker, which caches no results and no products."""
    scripts = sorted(f"shop/{path.name}" for path in STATIC.glob("shop/*.js"))
    cached = [url_for("static", filename=name) for name in (*_SHELL, *scripts)]
    brand = current_brand()
    cached += [address for address in (brand.stylesheet_url, brand.logo_url) if address]
    # The cached offline page has the brand too, so another brand needs another cache.
    version = f"{hash_folder(STATIC)}-{brand.version}"
    text = render_template("sw.js", version=version, shell=cached, offline=url_for(".show_offline"))
    answer = Response(text, mimetype="text/javascript")
    # A service worker has the policy of its own response, and it must be able to fetch.
    answer.headers["Content-Security-Policy"] = PAGE_POLICY
    answer.headers["Cache-Control"] = "no-cache"
    return answer


@blueprint.get("/offline")
def show_offline() -> str:
    """Show the offline page, which the service worker caches."""
    return render_template("offline.html")
