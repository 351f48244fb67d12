"""Makes the demo catalogue from a data pack: ``python demo/make.py DATA_DIR``.

Deterministic: the same pack gives the same manifest, byte for byte, and the same pictures for
the same Pillow. Prices are invented: nothing here is for sale.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parent
SHIPPABLE = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "MIT": "https://opensource.org/license/mit",
}
SIDE_PX = 480
QUALITY = 88
SEED = "vitrine demo prices 1"
# Edges of cubes as large as the cheapest and the most expensive product of a category.
SMALL_CM, LARGE_CM = 5.0, 250.0
# Least and most of an invented price in EUR, by English category.
PRICE_RANGES: dict[str, tuple[int, int]] = {
    "Activities": (6, 80),
    "Animals and plants": (5, 40),
    "Bathroom": (25, 900),
    "Bedroom": (40, 1600),
    "Exterior": (20, 1200),
    "Food and drink": (2, 25),
    "Kitchen": (15, 1400),
    "Lights": (15, 350),
    "Living room": (25, 2200),
    "Miscellaneous": (10, 500),
    "Objects": (4, 150),
    "Office": (20, 900),
    "Travel": (8, 120),
    "Vehicles": (150, 30000),
}
KEPT_KEYS = ("titles", "category", "categories", "tags", "creator", "licence", "source", "size_cm")


def invented_price(product_id: str, category: str, size_cm: Sequence[float]) -> Decimal:
    """Return a price in EUR within the range of the category, the same for the same arguments.

    Where the width, depth and height are known, a larger thing mostly costs more; the rest is
    chance, seeded by the id. Rounded as shops do: x.95 under 100, a final nine above.
    """
    digest = hashlib.sha256(f"{SEED}|{product_id}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if size_cm:
        edge_cm = min(max(math.prod(size_cm) ** (1 / 3), SMALL_CM), LARGE_CM)
        share = 0.3 * share + 0.7 * math.log(edge_cm / SMALL_CM) / math.log(LARGE_CM / SMALL_CM)
    low, high = PRICE_RANGES[category]
    amount = low * (high / low) ** share
    if amount < 100:
        return Decimal(int(amount)) + Decimal("0.95")
    return Decimal(int(amount / 10) * 10 + 9).quantize(Decimal("0.01"))


def demo_product(row: dict[str, Any]) -> dict[str, Any]:
    """Turn one line of the pack into one line of our manifest."""
    product = {key: row[key] for key in KEPT_KEYS if row.get(key)}
    # The pack's Chinese (Taiwan) categories carry their sort number in front.
    product["categories"] = {locale: name.lstrip("0123456789") for locale, name in row["categories"].items()}
    price = invented_price(row["product_id"], row["category"], row["size_cm"])
    image = f"images/{row['product_id']}.jpg"
    return {
        "product_id": row["product_id"],
        **product,
        "price": str(price),
        "currency": "EUR",
        "image": image,
    }


def copy_image(source: Path, target: Path) -> None:
    """Write ``source`` with its longest side at most ``SIDE_PX``; smaller pictures stay as they are."""
    with Image.open(source) as picture:
        if max(picture.size) <= SIDE_PX:
            shutil.copyfile(source, target)
            return
        small = picture.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    small.save(target, "JPEG", quality=QUALITY, optimize=True, progressive=True)


def cell(text: str) -> str:
    """Return ``text`` fit for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def credits_page(rows: Iterable[dict[str, Any]]) -> str:
    """Return CREDITS.md: every source, licence, creator and product, in a stable order."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        creators = groups.setdefault((row["source"], row["licence"]), {})
        creators.setdefault(row["creator"], []).append(row)
    parts = [(HERE / "credits_head.md").read_text(encoding="utf-8").rstrip()]
    for (source, licence), creators in sorted(groups.items()):
        count = sum(len(made) for made in creators.values())
        parts.append(f"## {source}\n\n{count} products, [{licence}]({SHIPPABLE[licence]}).")
        lines = ["| creator | products |", "|---|---|"]
        for creator, made in sorted(creators.items(), key=lambda item: item[0].casefold()):
            names = ", ".join(f"{cell(row['titles']['en'])} (`{row['product_id']}`)" for row in made)
            lines.append(f"| {cell(creator)} | {names} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def make(data: Path, target: Path) -> int:
    """Write the demo into ``target``; return how many products it has.

    Raises:
        FileNotFoundError: ``data`` is not a data pack.
        KeyError: a category has no price range.
    """
    source = data / "products"
    lines = (source / "products.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["licence"] in SHIPPABLE]
    rows.sort(key=lambda row: str(row["product_id"]))
    shutil.rmtree(target / "images", ignore_errors=True)
    (target / "images").mkdir(parents=True)
    with (target / "products.jsonl").open("w", encoding="utf-8", newline="\n") as manifest:
        for row in rows:
            product = demo_product(row)
            copy_image(source / row["image"], target / product["image"])
            manifest.write(json.dumps(product, ensure_ascii=False) + "\n")
    (target / "CREDITS.md").write_text(credits_page(rows), encoding="utf-8", newline="\n")
    return len(rows)


def main() -> None:
    """Read the arguments and make the demo."""
    parser = argparse.ArgumentParser(description="Make the demo catalogue from a data pack.")
    parser.add_argument("data", type=Path, help="the data pack: the folder that has products/products.jsonl")
    parser.add_argument("--target", type=Path, default=HERE, help="where to write (default: this folder)")
    arguments = parser.parse_args()
    print(f"{make(arguments.data, arguments.target)} products in {arguments.target}")


if __name__ == "__main__":
    main()
