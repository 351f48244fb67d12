"""The groups of settings; ``shared.settings`` reads them from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Group(BaseModel):
    """A nested group: a misspelt inner name stops the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RedisSettings(Group):
    url: SecretStr = Field(SecretStr("redis://127.0.0.1:6389/0"), description="Broker: redis:// or rediss://")
    port: int = Field(6389, ge=1, le=65535, description="Port of the embedded broker")
    maxmemory_bytes: int = Field(512 * 2**20, ge=2**20, description="Limit of the embedded broker")


class DatabaseSettings(Group):
    url: SecretStr | None = Field(
        None, description="SQLAlchemy URL; empty: SQLite in the data folder. postgresql+psycopg:// works"
    )
    pool_size: int = Field(8, ge=1, le=100, description="Connections a process keeps (PostgreSQL)")
    busy_timeout_s: float = Field(10.0, gt=0, description="How long a writer waits for SQLite's lock")


class MilvusSettings(Group):
    uri: str | None = Field(None, description="http://host:19530; empty: the embedded one")
    token: SecretStr | None = Field(None, description="user:password or API key of the Milvus server")
    embedded: Literal["auto", "server", "lite"] = Field(
        "auto", description="Which Milvus `vitrine up` starts"
    )
    port: int = Field(19531, ge=1, le=65535, description="Port of the embedded Milvus")
    timeout_s: float = Field(10.0, gt=0, description="Limit of one call")
    prefix: str = Field(
        "vitrine", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,31}$", description="Collections' names begin with it"
    )


class ImageSettings(Group):
    url: str | None = Field(None, description="file:///folder or s3://bucket/prefix; empty: the data folder")
    s3_endpoint: str | None = Field(None, description="Address of an S3-compatible server")
    s3_key: SecretStr | None = Field(None, description="S3 access key")
    s3_secret: SecretStr | None = Field(None, description="S3 secret key")
    max_bytes: int = Field(20_000_000, ge=1_000, description="Largest image file")
    max_pixels: int = Field(
        50_000_000,
        ge=10_000,
        description="Maximum pixels of a catalogue picture, and of a shopper's baseline JPEG",
    )
    query_max_pixels: int = Field(
        16_000_000, ge=10_000, description="Maximum pixels of a shopper's photo in any other format"
    )
    max_side_px: int = Field(16_000, ge=64, description="Longest side an image may have")
    query_side_px: int = Field(1280, ge=256, le=4096, description="Longest side of a stored query image")
    query_max_bytes: int = Field(1_000_000, ge=50_000, description="Largest stored query image")
    query_total_bytes: int = Field(
        2_000_000_000, ge=1_000_000, description="All stored query images together; the oldest go first"
    )
    min_free_bytes: int = Field(
        2**30, ge=0, description="Free disk space below which searches and imports get 503"
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
    threads: int = Field(0, ge=0, description="Inference threads a process; 0: all cores")
    confidence: float = Field(
        0.25, ge=0.01, le=0.99, description="Minimum confidence of a detection; below it one is doubtful"
    )
    query_confidence: float = Field(
        0.25,
        ge=0.01,
        le=0.99,
        description="Minimum confidence of an object that is searched for in a query image",
    )
    max_objects: int = Field(8, ge=1, le=32, description="Most objects of a query image")
    micro_batch: int = Field(
        32,
        ge=1,
        le=512,
        description="Pictures between two commits of the catalogue lane; a CPU sees 8 of them at a time",
    )
    decode_threads: int = Field(2, ge=1, le=64, description="Decoding threads beside the model")


class SearchSettings(Group):
    batch: int = Field(16, ge=1, le=256, description="Maximum number of searches answered in one batch")
    top_k_max: int = Field(200, ge=1, le=1000, description="Largest top_k")
    result_ttl_s: int = Field(3600, ge=60, description="How long an answer can be fetched")
    query_image_ttl_s: int = Field(3600, ge=60, description="How long a query image is kept")
    lease_s: float = Field(30.0, ge=1, description="A search not finished in this time is done again")
    max_attempts: int = Field(4, ge=1, le=20, description="Tries before a search or a chunk is given up")
    max_waiting: int = Field(2_000, ge=1, description="Waiting searches above which new ones get 429")
    probe_share: float = Field(
        0.01, ge=0, le=1, description="Share of searches that are answered exactly too, to tell recall"
    )
    probe_rows: int = Field(
        1_000_000, ge=0, description="Indexes with more rows are not probed: it would take too long"
    )


class JobSettings(Group):
    chunk_items: int = Field(256, ge=1, le=1024, description="Products a chunk")
    max_waiting: int = Field(
        1_000,
        ge=1,
        description="Jobs of one caller, or of one catalogue, that have not begun; above, new ones get 429",
    )
    window: int = Field(4, ge=1, le=256, description="Chunks of a job in flight")
    lease_s: float = Field(120.0, ge=1, description="A chunk without a heartbeat for so long is done again")
    hang_s: float = Field(
        300.0, gt=0, description="A worker that records nothing for so long hangs: it is replaced"
    )
    keep_import_s: float = Field(
        7 * 86_400.0, ge=0, description="How long an upload with failures is kept after its job, for a retry"
    )
    keep_import_bytes: int = Field(
        16 * 2**30, ge=0, description="Uploads kept for a retry, all together; the oldest go first"
    )
    max_import_bytes: int = Field(
        8 * 2**30, ge=2**20, description="Largest import: sent, or unpacked from a tar"
    )
    import_roots: tuple[str, ...] = Field(
        (), description="What an import may read on the server: absolute folders and s3://bucket/prefix"
    )

    @field_validator("import_roots")
    @classmethod
    def _say_where(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            bucket = urlsplit(root).netloc if root.startswith("s3://") else ""
            if not (bucket or Path(root).is_absolute()):
                raise ValueError(f"{root!r} is neither an absolute folder nor s3://bucket/prefix")
        return roots


class GateSettings(Group):
    """Shares are 0 to 1; docs/reprocessing.md says why the limits are what they are."""

    queries: int = Field(64, ge=1, le=2000, description="Photos that the quality gate searches for")
    golden_loss: float = Field(
        0.02, ge=0, le=1, description="Golden queries, as a share, whose product may come first no longer"
    )
    known_loss: float = Field(
        0.05, ge=0, le=1, description="The same of catalogue pictures that are slightly changed"
    )
    known_least: float = Field(
        0.5, ge=0, le=1, description="Of those, the share that must find its product if no index is live"
    )
    overlap_least: float = Field(
        0.1, ge=0, le=1, description="Share of the ten nearest products that must stay the same"
    )
    drift_most: float = Field(0.3, ge=0, le=2, description="Most that the mean score of first hits may move")
    failed_most: float = Field(0.005, ge=0, le=1, description="Share of pictures that may be unusable")
    wait_s: float = Field(
        120.0, ge=0, description="How long a promotion waits for search workers to load the models"
    )


class CalibrationSettings(Group):
    auto: bool = Field(
        True,
        description="Whether probabilities are found out without being asked for: of a new index version, "
        "and of a catalogue that changed much",
    )
    least_products: int = Field(
        2_000, ge=1, description="Smaller catalogues are not, unless they were calibrated before"
    )
    changed_share: float = Field(
        0.2, gt=0, le=1, description="Share of the products that came, went or got other pictures since"
    )


class SweepSettings(Group):
    interval_s: float = Field(2.0, gt=0, description="Time between two sweeps")
    ring_after_s: float = Field(5.0, gt=0, description="Work that nobody took for so long is published again")
    pictures_after_s: float = Field(86_400, ge=0, description="Age from which pictures of no product go")


#: A key of 16 hexadecimal digits has 64 bits, enough against the programs of one machine; 32 have 128.
MIN_KEY_CHARACTERS = 16
MIN_EXPOSED_KEY_CHARACTERS = 32
_KEY_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F)))


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
    threads: int = Field(16, ge=1, le=256, description="Request threads of a web process")
    workers: int = Field(1, ge=1, le=64, description="Web processes")
    decoders: int = Field(
        2, ge=1, le=64, description="Pictures a web process decodes at the same time, each in a child process"
    )
    max_body_bytes: int = Field(25_000_000, ge=1_000, description="Largest body of a search or product call")
    searches_per_minute: int = Field(600, ge=1, description="Searches an address may ask for in a minute")
    proxies: int = Field(0, ge=0, le=5, description="Trusted reverse proxies in front; needs an API key")
    allow_direct: bool = Field(
        False, description="Whether web may listen beyond loopback without a reverse proxy in front"
    )
    wait_max_s: float = Field(20.0, ge=0, le=60, description="Longest `Prefer: wait`")
    event_streams: int = Field(4, ge=0, le=256, description="Most open event streams of a web process")
    url_import: bool = Field(False, description="Whether searches and imports may name web addresses")

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
        description="Rates between currencies; empty: rates.json in the data folder, or the shipped",
    )
    rates_url: str = Field(
        "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml",
        description="Where `vitrine rates update` fetches from; nothing else does",
    )


class WebhookSettings(Group):
    allow_private: bool = Field(
        False, description="Whether webhooks may lead to addresses that are not of the public internet"
    )
    timeout_s: float = Field(10.0, gt=0, le=60, description="How long a receiver may take to answer")


class FeedbackSettings(Group):
    enabled: bool = Field(
        False, description="Whether clicks and verdicts on hits are kept, with their photos; never who it was"
    )
    keep_s: float = Field(180 * 86_400.0, ge=60, description="How long they are kept")


class FlowerSettings(Group):
    host: str = Field("127.0.0.1", description="Address Flower listens on")
    port: int = Field(5555, ge=1, le=65535, description="Port Flower listens on")
    user: str = Field("vitrine", description="Flower's user name")
    password: SecretStr | None = Field(
        None,
        description="Flower's password; empty: made at start; beyond loopback 12 characters or more",
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
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level shown")
    format: Literal["text", "json"] = Field("text", description="text for people, json for collectors")
