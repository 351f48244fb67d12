"""The demo catalogue: what is in it, that it may be shipped, and that its maker is deterministic."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"


@pytest.fixture(scope="module")
def products() -> list[dict[str, Any]]:
    lines = (DEMO / "products.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_make", DEMO / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_products_are_complete_and_ids_unique(products: list[dict[str, Any]]) -> None:
    ids = [product["product_id"] for product in products]
    assert len(ids) == len(set(ids)) == 1286
    assert sum(product_id.startswith("furniture-") for product_id in ids) == 585
    for product in products:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", product["product_id"])
        assert product["titles"]["en"]
        assert product["category"]
        assert Decimal(product["price"]) > 0
        assert product["currency"] == "EUR"


def test_titles_come_in_many_languages(products: list[dict[str, Any]]) -> None:
    locales = {locale for product in products for locale in product["titles"]}
    assert len(locales) >= 25
    assert all(len(product["titles"]) >= 10 for product in products)


def test_no_category_name_starts_with_a_sort_number(products: list[dict[str, Any]]) -> None:
    names = {name for product in products for name in product["categories"].values()}
    assert not [name for name in names if not name or name[0].isdigit()]


def test_only_shippable_licences_and_all_credited(products: list[dict[str, Any]], maker: ModuleType) -> None:
    page = (DEMO / "CREDITS.md").read_text(encoding="utf-8")
    for product in products:
        assert product["licence"] in maker.SHIPPABLE
        assert f"(`{product['product_id']}`)" in page
        assert maker.cell(product["creator"]) in page
        assert product["source"] in page


@pytest.mark.slow
def test_every_image_decodes_and_none_is_left_over(products: list[dict[str, Any]]) -> None:
    named = {product["image"] for product in products}
    assert named == {f"images/{path.name}" for path in (DEMO / "images").iterdir()}
    for name in named:
        with Image.open(DEMO / name) as picture:
            picture.load()
            assert picture.mode == "RGB"
            assert 150 <= max(picture.size) <= 480


def test_demo_is_small_enough_to_clone() -> None:
    total_bytes = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file())
    assert total_bytes < 30_000_000


def test_prices_are_stable_and_stay_in_the_range_of_their_category(
    products: list[dict[str, Any]], maker: ModuleType
) -> None:
    for product in products:
        price = maker.invented_price(product["product_id"], product["category"], product.get("size_cm", []))
        low, high = maker.PRICE_RANGES[product["category"]]
        assert str(price) == product["price"]
        assert low <= price <= high + 9


def pack_of(folder: Path) -> Path:
    """Write a data pack of three products; the stamp may not be shipped."""
    (folder / "products" / "images").mkdir(parents=True)
    rows = []
    for product_id, licence, side_px in (
        ("object-b", "MIT", 250),
        ("furniture-a", "CC-BY-3.0", 600),
        ("stamp-c", "GPL-2.0-or-later", 100),
    ):
        image = f"images/{product_id}.jpg"
        Image.new("RGB", (side_px, side_px), (200, 30, 90)).save(folder / "products" / image)
        rows.append(
            {
                "product_id": product_id,
                "titles": {"en": f"A | {product_id}"},
                "category": "Office",
                "categories": {"zh_TW": "8辦公室"},
                "tags": [],
                "creator": "Somebody",
                "licence": licence,
                "source": "A test",
                "size_cm": [],
                "split": "test",
                "image": image,
            }
        )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "products" / "products.jsonl").write_text(text, encoding="utf-8")
    return folder


def run_maker(pack: Path, target: Path) -> dict[str, bytes]:
    target.mkdir()
    command = [sys.executable, str(DEMO / "make.py"), str(pack), "--target", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_the_maker_is_deterministic_and_leaves_out_what_may_not_be_shipped(tmp_path: Path) -> None:
    pack = pack_of(tmp_path / "pack")
    first, second = run_maker(pack, tmp_path / "one"), run_maker(pack, tmp_path / "two")
    assert first == second
    assert set(first) == {"products.jsonl", "CREDITS.md", "images/furniture-a.jpg", "images/object-b.jpg"}
    rows = [json.loads(line) for line in first["products.jsonl"].decode().splitlines()]
    assert [row["product_id"] for row in rows] == ["furniture-a", "object-b"]
    assert rows[0]["categories"] == {"zh_TW": "辦公室"}
    assert "split" not in rows[0]
    assert "A \\| object-b" in first["CREDITS.md"].decode()
    small = (pack / "products" / "images" / "object-b.jpg").read_bytes()
    assert first["images/object-b.jpg"] == small
    with Image.open(tmp_path / "one" / "images" / "furniture-a.jpg") as picture:
        assert picture.size == (480, 480)


def test_a_category_without_a_price_range_stops_the_maker(maker: ModuleType) -> None:
    with pytest.raises(KeyError, match="Hats"):
        maker.invented_price("hat-1", "Hats", [])
