"""Imports of each kind, from the upload to what is found in the catalogue."""

from __future__ import annotations

import io
import secrets

import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import ImageMissing, Refused, Unreachable
from tests.packing import pictures, tar
from tests.shop import Shop, reasons

SITE = "https://shop.example/"
LINES = (
    f"product_id,title,images\nchair,Chair,{SITE}p0.jpg\nlamp,Lamp,{SITE}gone.jpg|{SITE}p1.jpg\n"
    f"vase,Vase,{SITE}down.jpg\nbed,Bed,{SITE}inside.jpg\nrug,Rug,p1.jpg\n"
)


def upload(shop: Shop, ending: str, data: bytes) -> str:
    name = f"{secrets.token_hex(32)}-upload.{ending}"
    shop.store.put_stream(name, [data], "imports", 10**8)
    job = shop.jobs.create_import("shop", {"archive": name}).id
    shop.work()
    return job


def test_a_packed_parquet_manifest_and_one_with_addresses(shop: Shop) -> None:
    photos = pictures(3)
    manifest = io.BytesIO()
    table = {"product_id": ["a", "b"], "titles": [{"en": "A"}, {"en": "B"}], "image": ["p0.jpg", "in/p1.jpg"]}
    pq.write_table(pa.table(table), manifest)
    files = {"list.parquet": manifest.getvalue(), "p0.jpg": photos["p0.jpg"], "in/p1.jpg": photos["p1.jpg"]}
    packed = shop.jobs.status(upload(shop, "tgz", tar(files, "gz")))
    assert (packed.state, packed.counts.new, packed.counts.failed) == ("succeeded", 2, 0)
    assert shop.catalogue.product("shop", "b").titles == {"en": "B"}

    job = upload(shop, "csv", LINES.encode())
    assert reasons(shop, job) == {
        **dict.fromkeys((f"{SITE}{name}.jpg" for name in ("p0", "gone", "p1", "down", "inside")), "refused"),
        "p1.jpg": "missing_image",
    }
    assert shop.jobs.status(job).counts.new == 0
    [first] = [f for f in shop.jobs.failures(job).failures if f.image == f"{SITE}p0.jpg"]
    assert "VITRINE_WEB__URL_IMPORT" in first.message

    def fetch(address: str, max_bytes: int, deadline_s: float) -> bytes:
        name = address.removeprefix(SITE)
        if name == "gone.jpg":
            raise ImageMissing("The address answered 404.")
        if name == "down.jpg":
            raise Unreachable("The address delivers too slowly.")
        if name == "inside.jpg":
            raise Refused("The address leads into a private network.")
        return photos[name]

    fetcher = shop.worker.catalogue.context.sources._fetcher
    fetcher.allowed, fetcher.fetch = True, fetch
    job = upload(shop, "csv", LINES.encode())
    assert reasons(shop, job) == {
        f"{SITE}gone.jpg": "missing_image",
        f"{SITE}down.jpg": "unreachable",
        f"{SITE}inside.jpg": "refused",
        "p1.jpg": "missing_image",
    }
    assert shop.jobs.status(job).counts.new == 2
    assert len(shop.catalogue.product("shop", "lamp").images) == 1

    bad = shop.jobs.status(upload(shop, "tar", tar({"../out.csv": "product_id\n"})))
    assert bad.state == "failed"
    assert bad.error is not None
    assert (bad.error.code, "leads out of it" in bad.error.message) == ("invalid_manifest", True)
