"""What makes the page an application on a phone: manifest, service worker, the page without a network."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, jsonify, render_template, url_for
from flask_babel import gettext as _

from web.http.security import PAGE_POLICY
from web.i18n import reader

blueprint = Blueprint("installed", __name__)

STATIC = Path(__file__).parent.parent / "static"
GROUND = "#faf7f2"
_ICONS = (
    ("icon-192.png", 192, "any"),
    ("icon-512.png", 512, "any"),
    ("icon-maskable-512.png", 512, "maskable"),
)
#: Kept on the device from the first visit on; what a page of results needs, but no result.
_SHELL = ("vitrine.css", "shop.css", "icon.svg", "icons/icon-192.png")


@cache
def version_of(folder: Path) -> str:
    """Name what is served from ``folder``: other contents, another name."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


@blueprint.get("/manifest.webmanifest")
def manifest() -> Response:
    """What a phone needs to put Vitrine among its applications, and into its menu of sharing."""
    who = reader()
    answer = jsonify(
        {
            "id": "/",
            "name": "Vitrine",
            "short_name": "Vitrine",
            "description": _("Find products by photo."),
            "lang": who.tag,
            "dir": who.locale.text_direction,
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": GROUND,
            "theme_color": GROUND,
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
                "action": "/s?shared=1",
                "method": "POST",
                "enctype": "multipart/form-data",
                "params": {"files": [{"name": "image", "accept": ["image/*"]}]},
            },
        }
    )
    answer.mimetype = "application/manifest+json"
    return answer


@blueprint.get("/sw.js")
def service_worker() -> Response:
    """The script that stands between the page and the network. It keeps no result and no product."""
    scripts = sorted(f"shop/{path.name}" for path in STATIC.glob("shop/*.js"))
    kept = [url_for("static", filename=name) for name in (*_SHELL, *scripts)]
    text = render_template("sw.js", version=version_of(STATIC), shell=kept, offline=url_for(".offline"))
    answer = Response(text, mimetype="text/javascript")
    # A worker lives under the policy of its own answer, and it must be able to fetch.
    answer.headers["Content-Security-Policy"] = PAGE_POLICY
    answer.headers["Cache-Control"] = "no-cache"
    return answer


@blueprint.get("/offline")
def offline() -> str:
    """What is seen without a network; it was kept on the device before."""
    return render_template("offline.html")
