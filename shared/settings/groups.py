"""Groups of settings; ``shared.settings`` reads them from the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Group(BaseModel):
    """A nested group; an unknown name in it is an error at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RedisSettings(Group):
    url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6389/0"), description="URL of the broker: redis:// or rediss://"
    )
    port: int = Field(6389, ge=1, le=65535, description="Port of the embedded broker")
    maxmemory_bytes: int = Field(512 * 2**20, ge=2**20, description="Maximum memory of the embedded broker")


class DatabaseSettings(Group):
    url: SecretStr | None = Field(
        None, description="SQLAlchemy URL, such as postgresql+psycopg://; empty: SQLite in the data folder"
    )
    pool_size: int = Field(
        8, ge=1, le=100, description="Number of pooled connections per process (PostgreSQL)"
    )
    busy_timeout_s: float = Field(10.0, gt=0, description="Maximum wait of a writer for SQLite's lock")


class MilvusSettings(Group):
    uri: str | None = Field(
        None, description="URL of Milvus, such as http://host:19530; empty: the embedded Milvus"
    )
    token: SecretStr | None = Field(None, description="user:password or API key of the Milvus server")
    embedded: Literal["auto", "server", "lite"] = Field(
        "auto", description="Kind of Milvus that `vitrine up` starts"
    )
    port: int = Field(19531, ge=1, le=65535, description="Port of the embedded Milvus")
    timeout_s: float = Field(10.0, gt=0, description="Timeout of a call to Milvus")
    prefix: str = Field(
        "vitrine", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,31}$", description="Prefix of the names of collections"
    )


class ImageSettings(Group):
    url: str | None = Field(
        None,
        description="URL of the image store: file:///folder or s3://bucket/prefix; empty: the data folder",
    )
    s3_endpoint: str | None = Field(None, description="Address of an S3-compatible server")
    s3_key: SecretStr | None = Field(None, description="S3 access key")
    s3_secret: SecretStr | None = Field(None, description="S3 secret key")
    max_bytes: int = Field(20_000_000, ge=1_000, description="Maximum size of an image file")
    max_pixels: int = Field(
        50_000_000,
        ge=10_000,
        description="Maximum pixels of a catalogue picture, and of a shopper's baseline JPEG",
    )
    query_max_pixels: int = Field(
        16_000_000, ge=10_000, description="Maximum pixels of a shopper's photo in any other format"
    )
    max_side_px: int = Field(16_000, ge=64, description="Maximum length of an image's longer side")
    query_side_px: int = Field(
        1280, ge=256, le=4096, description="Length of the longer side of a stored query image"
    )
    query_max_bytes: int = Field(1_000_000, ge=50_000, description="Maximum size of a stored query image")
    query_total_bytes: int = Field(
        2_000_000_000,
        ge=1_000_000,
        description="Maximum size of all stored query images; the oldest are deleted first",
    )
    min_free_bytes: int = Field(
        2**30, ge=0, description="Free disk space below which searches and imports are answered with 503"
    )


class ModelSettings(Group):
    folder: Path | None = Field(None, description="Folder with registry.json; empty: the shipped models")
    detector: str = Field("default", description="Registry name, path of YOLO weights, or `none`")
    embedder: str = Field("default", description="Registry name, or path of ResNet weights")
    runtime: Literal["openvino", "torch"] = Field("openvino", description="openvino on CPU, torch on CUDA")
    device: str = Field("cpu", description="cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "int8"] = Field(
        "auto", description="auto: INT8 on the CPU where a model has it, FP16 on CUDA; fp32; int8"
    )
    threads: int = Field(0, ge=0, description="Inference threads per process; 0: all cores")
    confidence: float = Field(
        0.25, ge=0.01, le=0.99, description="Minimum confidence of a detection that is not doubtful"
    )
    query_confidence: float = Field(
        0.25,
        ge=0.01,
        le=0.99,
        description="Minimum confidence of a doubtful object in a query image that is searched with",
    )
    max_objects: int = Field(8, ge=1, le=32, description="Maximum number of objects per query image")
    micro_batch: int = Field(
        32,
        ge=1,
        le=512,
        description="Pictures per commit of the catalogue lane; a CPU processes 8 of them at a time",
    )
    decode_threads: int = Field(2, ge=1, le=64, description="Decoding threads per catalogue worker")


class SearchSettings(Group):
    batch: int = Field(16, ge=1, le=256, description="Maximum number of searches answered in one batch")
    top_k_max: int = Field(200, ge=1, le=1000, description="Maximum top_k")
    result_ttl_s: int = Field(3600, ge=60, description="Seconds until a result expires")
    query_image_ttl_s: int = Field(3600, ge=60, description="Seconds for which a query image is stored")
    lease_s: float = Field(30.0, ge=1, description="Seconds after which an unfinished search is retried")
    max_attempts: int = Field(4, ge=1, le=20, description="Maximum attempts of a search or a chunk")
    max_waiting: int = Field(
        2_000, ge=1, description="Waiting searches above which new ones are answered with 429"
    )
    probe_share: float = Field(
        0.01, ge=0, le=1, description="Share of searches that are compared with an exact search, for recall"
    )
    probe_rows: int = Field(
        1_000_000,
        ge=0,
        description="Maximum rows of an index whose recall is probed, as larger ones are slow",
    )


class JobSettings(Group):
    chunk_items: int = Field(256, ge=1, le=1024, description="Products per chunk")
    max_waiting: int = Field(
        1_000,
        ge=1,
        description="Waiting jobs of a caller or catalogue above which new ones are answered with 429",
    )
    window: int = Field(4, ge=1, le=256, description="Maximum chunks of a job in flight")
    lease_s: float = Field(
        120.0, ge=1, description="Seconds without a heartbeat after which a chunk is retried"
    )
    hang_s: float = Field(
        300.0, gt=0, description="Seconds without progress after which a worker is replaced as hung"
    )
    keep_import_s: float = Field(
        7 * 86_400.0, ge=0, description="Seconds for which an upload with failures is kept for a retry"
    )
    keep_import_bytes: int = Field(
        16 * 2**30, ge=0, description="Maximum size of uploads kept for a retry; the oldest are deleted first"
    )
    keep_rows_s: float = Field(
        7 * 86_400.0,
        ge=0,
        description="Seconds for which an ended job keeps its failures and can be retried; its counts stay",
    )
    max_import_bytes: int = Field(
        8 * 2**30, ge=2**20, description="Maximum size of an import, as sent and unpacked from a tar"
    )
    import_roots: tuple[str, ...] = Field(
        (), description="Sources on the server that imports may read: absolute folders and s3://bucket/prefix"
    )

    @field_validator("import_roots")
    @classmethod
    def _check_roots(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            bucket = urlsplit(root).netloc if root.startswith("s3://") else ""
            if not (bucket or Path(root).is_absolute()):
                raise ValueError(f"{root!r} is neither an absolute folder nor s3://bucket/prefix")
        return roots


class GateSettings(Group):
    """Limits of the quality gate; shares are 0 to 1. See docs/reprocessing.md."""

    queries: int = Field(64, ge=1, le=2000, description="Photos that the quality gate searches for")
    golden_loss: float = Field(
        0.02, ge=0, le=1, description="Maximum share of golden queries that may lose their top hit"
    )
    known_loss: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Maximum share of perturbed catalogue images that may lose their top hit",
    )
    min_known_recall: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Minimum share of perturbed catalogue images that must find their product without a live "
        "index",
    )
    min_overlap: float = Field(
        0.1, ge=0, le=1, description="Minimum share of the ten nearest products that must be unchanged"
    )
    max_score_drift: float = Field(
        0.3, ge=0, le=2, description="Maximum change of the mean score of top hits"
    )
    max_failed_share: float = Field(0.005, ge=0, le=1, description="Maximum share of unusable pictures")
    wait_s: float = Field(
        120.0,
        ge=0,
        description="Maximum seconds that a promotion waits for search workers to load the models",
    )


class CalibrationSettings(Group):
    auto: bool = Field(
        True,
        description="Whether new index versions and substantially changed catalogues are calibrated "
        "automatically",
    )
    min_products: int = Field(
        2_000,
        ge=1,
        description="Minimum products for automatic calibration, unless the catalogue was calibrated before",
    )
    changed_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of added, deleted or re-pictured products from which a calibration is repeated",
    )


class SweepSettings(Group):
    interval_s: float = Field(2.0, gt=0, description="Seconds between two sweeps")
    republish_after_s: float = Field(
        5.0, gt=0, description="Seconds after which unclaimed work is published again"
    )
    pictures_after_s: float = Field(
        86_400, ge=0, description="Minimum age of deleted pictures without a product"
    )


#: A key of 16 hexadecimal digits has 64 bits, enough against the programs of one machine; 32 have 128.
MIN_KEY_CHARACTERS = 16
MIN_EXPOSED_KEY_CHARACTERS = 32
_KEY_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F)))


#: As `shared.contracts.CatalogueName`, which is not imported here.
_CATALOGUE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")


class WebSettings(Group):
    host: str = Field(
        "127.0.0.1", description="Address to listen on; others need an API key and a reverse proxy"
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on")
    api_key: SecretStr | None = Field(
        None,
        description="Key that callers send as `Authorization: Bearer`: at least 16 characters, at least 32 "
        "beyond loopback or behind a proxy. `openssl rand -hex 32` prints one",
    )
    threads: int = Field(16, ge=1, le=256, description="Request threads per web process")
    workers: int = Field(1, ge=1, le=64, description="Number of web processes")
    decoders: int = Field(
        2,
        ge=1,
        le=64,
        description="Pictures that a web process decodes concurrently, each in a child process",
    )
    max_body_bytes: int = Field(
        25_000_000, ge=1_000, description="Maximum size of the body of a search or product request"
    )
    searches_per_minute: int = Field(600, ge=1, description="Maximum searches per address and minute")
    public: str = Field(
        "",
        description="Catalogues that shoppers may search on the pages without a key, such as `shop,winter`; "
        "requires an API key for everything else",
    )
    visitor_searches_per_minute: int = Field(
        30, ge=1, description="Maximum searches of a shopper without a key per minute"
    )
    proxies: int = Field(
        0, ge=0, le=5, description="Number of trusted reverse proxies in front; requires an API key"
    )
    allow_direct: bool = Field(
        False, description="Whether web may listen beyond loopback without a reverse proxy in front"
    )
    wait_max_s: float = Field(20.0, ge=0, le=60, description="Maximum seconds of `Prefer: wait`")
    event_streams: int = Field(4, ge=0, le=256, description="Maximum open event streams per web process")
    url_import: bool = Field(False, description="Whether searches and imports may name web addresses")

    @property
    def public_catalogues(self) -> frozenset[str]:
        """The catalogues that need no key."""
        return frozenset(name.strip() for name in self.public.split(",") if name.strip())

    @field_validator("public")
    @classmethod
    def _check_public(cls, text: str) -> str:
        for name in filter(None, map(str.strip, text.split(","))):
            if not _CATALOGUE_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name of a catalogue: write names separated by commas, as shop,winter"
                )
        return text

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        text = key.get_secret_value()
        if not text.strip():
            raise ValueError(
                f"the API key is set and empty: set {MIN_KEY_CHARACTERS} or more characters "
                "(`openssl rand -hex 32` prints a key), or remove the variable"
            )
        if not _KEY_CHARACTERS.issuperset(text):
            raise ValueError("an API key has visible ASCII characters only, without blanks")
        if len(text) < MIN_KEY_CHARACTERS:
            raise ValueError(
                f"the API key has {len(text)} characters and needs at least {MIN_KEY_CHARACTERS}: "
                "`openssl rand -hex 32` prints one"
            )
        return key


class MoneySettings(Group):
    rates_file: Path | None = Field(
        None,
        description="File of exchange rates; empty: rates.json in the data folder, or the shipped file",
    )
    rates_url: str = Field(
        "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml",
        description="Address of the rates that `vitrine rates update` fetches; nothing else fetches it",
    )


class WebhookSettings(Group):
    allow_private: bool = Field(False, description="Whether webhooks may have addresses in private networks")
    timeout_s: float = Field(10.0, gt=0, le=60, description="Timeout of a webhook's receiver")


class FeedbackSettings(Group):
    enabled: bool = Field(
        False,
        description="Whether clicks and verdicts on hits are stored, with their photos but without users",
    )
    keep_s: float = Field(180 * 86_400.0, ge=60, description="Seconds for which feedback is stored")


class FlowerSettings(Group):
    host: str = Field("127.0.0.1", description="Address Flower listens on")
    port: int = Field(5555, ge=1, le=65535, description="Port Flower listens on")
    user: str = Field("vitrine", description="Flower's user name")
    password: SecretStr | None = Field(
        None,
        description="Flower's password; empty: generated at start; beyond loopback at least 12 characters",
    )
    url_prefix: str = Field(
        "",
        pattern=r"^/?[A-Za-z0-9/_.-]*$",
        description="Path below which a proxy serves Flower, such as `flower`",
    )
    xheaders: bool = Field(
        False, description="Whether Flower trusts X-Real-Ip and X-Scheme of the proxy in front of it"
    )


class LogSettings(Group):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Minimum level of log events"
    )
    format: Literal["text", "json"] = Field("text", description="text for people, json for collectors")
