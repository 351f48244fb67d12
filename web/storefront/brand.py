"""The shop's brand on the pages: its logo and its stylesheet, at addresses with a hash of their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, request, url_for

from shared.errors import Misconfigured, NotFound
from shared.settings.brand import DEFAULT_NAME, BrandSettings
from web.http.path_prefix import script_root
from web.storefront.colours import accent_stylesheet

blueprint = Blueprint("brand", __name__)

MAX_LOGO_BYTES = 200_000
_EXTENSION = "vitrine-brand"
_IMMUTABLE = "public, max-age=31536000, immutable"
_SVG = "image/svg+xml"
#: Opened by itself, an SVG is a document: neither scripts nor requests are allowed in it.
_LOGO_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
#: Pages of the owner and of developers, which keep their links to each other.
_STAFF = ("manage", "sign_in", "docs")


@dataclass(frozen=True, slots=True)
class Brand:
    """What the pages show of the shop.

    Attributes:
        logo, logo_type: bytes and media type; empty without a logo.
        stylesheet: CSS of the shop's colour; empty without one.
    """

    settings: BrandSettings
    logo: bytes = b""
    logo_type: str = ""
    stylesheet: str = ""

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def home(self) -> str:
        return self.settings.home or f"{script_root()}/"

    @property
    def logo_url(self) -> str:
        """Address of the logo; empty without one."""
        return url_for("pages.brand.get_logo", version=_hash(self.logo)) if self.logo else ""

    @property
    def stylesheet_url(self) -> str:
        """Address of the stylesheet; empty without a colour."""
        version = _hash(self.stylesheet.encode())
        return url_for("pages.brand.get_stylesheet", version=version) if self.stylesheet else ""

    @property
    def version(self) -> str:
        """Hash of everything that pages show of the brand."""
        return _hash(self.settings.model_dump_json().encode() + self.logo + self.stylesheet.encode())

    @property
    def has_staff_links(self) -> bool:
        """Whether the current page links to the pages of developers and owners."""
        return self.name == DEFAULT_NAME or (request.endpoint or "").startswith(_STAFF)


def load_brand(settings: BrandSettings) -> Brand:
    """Read the brand's files.

    Raises:
        Misconfigured: the logo is missing, too large, or neither SVG, PNG nor WebP.
    """
    stylesheet = accent_stylesheet(settings.accent) if settings.accent else ""
    if settings.logo is None:
        return Brand(settings, stylesheet=stylesheet)
    logo = _read_logo(settings.logo)
    return Brand(settings, logo, _logo_type(logo, settings.logo), stylesheet)


def register_brand(app: Flask, settings: BrandSettings) -> None:
    """Load the brand, and give it to all templates as ``site``."""
    brand = app.extensions[_EXTENSION] = load_brand(settings)
    app.context_processor(lambda: {"site": brand})


def current_brand() -> Brand:
    """Return the brand of the current application."""
    brand: Brand = current_app.extensions[_EXTENSION]
    return brand


@blueprint.get("/brand/<version>/logo")
def get_logo(version: str) -> Response:
    """Serve the shop's logo."""
    brand = current_brand()
    if not brand.logo or version != _hash(brand.logo):
        raise NotFound("The shop's logo has another address now. Load the page again.")
    answer = Response(brand.logo, mimetype=brand.logo_type)
    answer.headers["Content-Security-Policy"] = _LOGO_POLICY
    answer.headers["Cache-Control"] = _IMMUTABLE
    return answer


@blueprint.get("/brand/<version>/brand.css")
def get_stylesheet(version: str) -> Response:
    """Serve the stylesheet of the shop's colour."""
    brand = current_brand()
    if not brand.stylesheet or version != _hash(brand.stylesheet.encode()):
        raise NotFound("The shop's stylesheet has another address now. Load the page again.")
    answer = Response(brand.stylesheet, mimetype="text/css")
    answer.headers["Cache-Control"] = _IMMUTABLE
    return answer


def _read_logo(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            logo = file.read(MAX_LOGO_BYTES + 1)
    except OSError as error:
        raise Misconfigured(
            f"VITRINE_BRAND__LOGO: {path} cannot be read ({error.strerror}): name an SVG, PNG or WebP file"
        ) from error
    if len(logo) > MAX_LOGO_BYTES:
        raise Misconfigured(
            f"VITRINE_BRAND__LOGO: {path} is larger than {MAX_LOGO_BYTES // 1000} kB: use a smaller file"
        )
    return logo


def _logo_type(logo: bytes, path: Path) -> str:
    if logo.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if logo[:4] == b"RIFF" and logo[8:12] == b"WEBP":
        return "image/webp"
    if _is_svg(logo):
        return _SVG
    raise Misconfigured(
        f"VITRINE_BRAND__LOGO: {path} is neither SVG, PNG nor WebP: convert it to one of them"
    )


def _is_svg(logo: bytes) -> bool:
    """Return whether the first element is ``<svg>``, after declarations and comments."""
    rest = logo.removeprefix(b"\xef\xbb\xbf").lstrip()
    while rest.startswith((b"<?", b"<!")):
        end = b"-->" if rest.startswith(b"<!--") else b">"
        rest = rest.partition(end)[2].lstrip()
    return rest.startswith((b"<svg ", b"<svg>", b"<svg\n", b"<svg\r", b"<svg\t"))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
