"""Read the settings from the environment: one frozen class with nested groups.

``VITRINE_REDIS__URL`` sets ``redis.url``. A variable whose name ends in ``_FILE`` has the path of a file with
the value, as for Docker secrets: ``VITRINE_WEB__API_KEY_FILE=/run/secrets/key``.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from shared.errors import Misconfigured
from shared.settings.brand import BrandSettings
from shared.settings.groups import (
    MIN_EXPOSED_KEY_CHARACTERS,
    CalibrationSettings,
    DatabaseSettings,
    FeedbackSettings,
    FlowerSettings,
    GateSettings,
    ImageSettings,
    JobSettings,
    LogSettings,
    MilvusSettings,
    ModelSettings,
    MoneySettings,
    RedisSettings,
    SearchSettings,
    SweepSettings,
    WebhookSettings,
    WebSettings,
)
from shared.settings.variables import (
    FILE_SUFFIX,
    PREFIX,
    check_variables,
    drop_removed,
    is_file_variable,
    rename_variables,
)

__all__ = [
    "PREFIX",
    "BrandSettings",
    "CalibrationSettings",
    "DatabaseSettings",
    "FeedbackSettings",
    "FlowerSettings",
    "GateSettings",
    "ImageSettings",
    "JobSettings",
    "LogSettings",
    "MilvusSettings",
    "ModelSettings",
    "MoneySettings",
    "RedisSettings",
    "SearchSettings",
    "Settings",
    "SweepSettings",
    "WebSettings",
    "WebhookSettings",
    "get_settings",
]

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Settings(BaseSettings):
    """All settings. The defaults work on one machine without other services."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        validate_default=True,
        # An error would otherwise contain the input, passwords of other groups included.
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(Path(".vitrine"), description="Folder of the embedded services and the images")
    start_limit_s: float = Field(
        240.0,
        ge=10,
        le=86_400,
        description="Maximum seconds `vitrine up` waits for each service to start",
    )
    redis: RedisSettings = RedisSettings()
    database: DatabaseSettings = DatabaseSettings()
    milvus: MilvusSettings = MilvusSettings()
    images: ImageSettings = ImageSettings()
    models: ModelSettings = ModelSettings()
    search: SearchSettings = SearchSettings()
    jobs: JobSettings = JobSettings()
    gate: GateSettings = GateSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    sweep: SweepSettings = SweepSettings()
    web: WebSettings = WebSettings()
    brand: BrandSettings = BrandSettings()
    money: MoneySettings = MoneySettings()
    webhooks: WebhookSettings = WebhookSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    flower: FlowerSettings = FlowerSettings()
    log: LogSettings = LogSettings()

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _closed_by_default(self) -> Settings:
        web = self.web
        if web.public_catalogues and web.api_key is None:
            raise ValueError(
                f"web.public opens {web.public} to shoppers, and without a key everything else is open too: "
                "set VITRINE_WEB__API_KEY (`openssl rand -hex 32` prints a key), or remove "
                "VITRINE_WEB__PUBLIC"
            )
        if web.staff_header and web.proxies == 0:
            raise ValueError(
                f"web.staff_header trusts the header {web.staff_header}, which any client can send: put a "
                "proxy in front that sets it, and set VITRINE_WEB__PROXIES=1, or remove "
                "VITRINE_WEB__STAFF_HEADER"
            )
        beyond_loopback = web.host not in LOOPBACK
        if not (beyond_loopback or web.proxies):
            return self
        exposure = (
            f"web.host is {web.host}, which other machines can reach"
            if beyond_loopback
            else f"web.proxies is {web.proxies}, so other machines reach web through a proxy"
        )
        way_back = "listen on 127.0.0.1 without VITRINE_WEB__PROXIES"
        if web.api_key is None:
            raise ValueError(
                f"{exposure}: set VITRINE_WEB__API_KEY (`openssl rand -hex 32` prints a key), or {way_back}"
            )
        if len(web.api_key.get_secret_value()) < MIN_EXPOSED_KEY_CHARACTERS:
            raise ValueError(
                f"{exposure}: VITRINE_WEB__API_KEY needs at least {MIN_EXPOSED_KEY_CHARACTERS} characters "
                f"there (`openssl rand -hex 32` prints a key), or {way_back}"
            )
        if beyond_loopback and not web.proxies and not web.allow_direct:
            raise ValueError(
                f"{exposure}: put a reverse proxy with TLS in front and set VITRINE_WEB__PROXIES=1, "
                "listen on 127.0.0.1, or set VITRINE_WEB__ALLOW_DIRECT=true if only trusted machines "
                "reach this port"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(env_settings, EnvSettingsSource)
        # SecretFiles reads these; here they would be unknown fields.
        env_settings.env_vars = {
            name: value
            for name, value in rename_variables(drop_removed(env_settings.env_vars)).items()
            if not is_file_variable(name.upper(), settings_cls)
        }
        return (init_settings, env_settings, SecretFiles(settings_cls))

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL, password included."""
        if self.database.url is not None:
            return self.database.url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'vitrine.sqlite3'}"

    @property
    def image_store_url(self) -> str:
        return self.images.url or (self.data_dir / "images").as_uri()

    @property
    def rates_path(self) -> Path:
        return self.money.rates_file or self.data_dir / "rates.json"

    @property
    def milvus_uri(self) -> str:
        return self.milvus.uri or f"http://127.0.0.1:{self.milvus.port}"

    @property
    def redis_url(self) -> str:
        return self.redis.url.get_secret_value()

    @property
    def models_folder(self) -> Path:
        return self.models.folder or Path(__file__).resolve().parents[2] / "models"


class SecretFiles(PydanticBaseSettingsSource):
    """Reads ``VITRINE_GROUP__NAME_FILE`` as the path of a file with the value."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, path in os.environ.items():
            if not is_file_variable(name, self.settings_cls):
                continue
            *groups, leaf = name.removeprefix(PREFIX).removesuffix(FILE_SUFFIX).lower().split("__")
            target = found
            for group in groups:
                target = target.setdefault(group, {})
            try:
                target[leaf] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}: the file cannot be read ({error}).") from error
        return found


@cache
def get_settings() -> Settings:
    """Read the environment once; for entry points only, which pass values to other code.

    Raises:
        Misconfigured: a value is invalid; the message names the variable.
    """
    try:
        check_variables(Settings)
        return Settings()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise Misconfigured(f"The settings are invalid: {' '.join(map(_format_error, found))}") from error
    except SettingsError as error:
        raise Misconfigured(
            f'The settings are invalid: {error}. Lists are written as JSON, such as ["/srv/shop"].'
        ) from error
    except (ValueError, OSError) as error:
        raise Misconfigured(f"The settings are invalid: {error}") from error


def _format_error(error: Any) -> str:
    """Format a validation error with its variable, but without the value."""
    variable = PREFIX + "__".join(str(part) for part in error["loc"]).upper()
    reason = error["msg"].removeprefix("Value error, ").rstrip(".")
    if error["type"] == "extra_forbidden":
        reason = "there is no such setting; docs/settings.md lists them"
    return f"{variable}: {reason}." if error["loc"] else f"{reason}."
