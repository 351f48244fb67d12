"""The settings are documented, refuse what is dangerous, and never show a secret."""

from __future__ import annotations

import importlib.util
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import Misconfigured
from shared.settings import Settings, WebSettings, get_settings
from shared.settings.variables import REMOVED, RENAMED, setting_variables

ROOT = Path(__file__).parent.parent.parent
LONG_KEY = "0123456789abcdef" * 2


def test_page_and_example_match_the_code() -> None:
    spec = importlib.util.spec_from_file_location("settings_table", ROOT / "bin" / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in module.expected_files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python bin/settings.py`"


def test_every_setting_says_what_it_is_for() -> None:
    for group in Settings.model_fields.values():
        fields = getattr(type(group.default), "model_fields", {"": group})
        assert all(field.description for field in fields.values())


def test_an_open_address_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_WEB__HOST", "0.0.0.0")
    with pytest.raises(ValidationError, match="VITRINE_WEB__API_KEY"):
        Settings()
    monkeypatch.setenv("VITRINE_WEB__API_KEY", LONG_KEY)
    with pytest.raises(ValidationError, match="VITRINE_WEB__PROXIES=1"):
        Settings()
    monkeypatch.setenv("VITRINE_WEB__PROXIES", "1")
    assert Settings().web.host == "0.0.0.0"
    monkeypatch.delenv("VITRINE_WEB__PROXIES")
    monkeypatch.setenv("VITRINE_WEB__ALLOW_DIRECT", "true")
    assert Settings().web.host == "0.0.0.0"


def test_a_proxy_in_front_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_WEB__PROXIES", "1")
    with pytest.raises(ValidationError, match="set VITRINE_WEB__API_KEY"):
        Settings()
    monkeypatch.setenv("VITRINE_WEB__API_KEY", LONG_KEY)
    assert Settings().web.proxies == 1


@pytest.mark.parametrize("way", ["API_KEY", "API_KEY_FILE"])
@pytest.mark.parametrize(
    "key", ["", " ", "\t\n", "a", "x" * 15, "blanks between words", "schlüssel-schlüssel"]
)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_empty_or_short_key_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, key: str, host: str
) -> None:
    """C2: the line of .env.example, uncommented and not filled in, opened everything."""
    (tmp_path / "key").write_text(key)
    monkeypatch.setenv("VITRINE_WEB__HOST", host)
    monkeypatch.setenv("VITRINE_WEB__ALLOW_DIRECT", "true")
    monkeypatch.setenv(f"VITRINE_WEB__{way}", key if way == "API_KEY" else str(tmp_path / "key"))
    get_settings.cache_clear()
    with pytest.raises(Misconfigured, match=r"VITRINE_WEB__API_KEY: .*key"):
        get_settings()


@pytest.mark.parametrize(("length", "host", "proxies", "is_taken"), [
    (16, "127.0.0.1", 0, True), (31, "127.0.0.1", 1, False), (31, "0.0.0.0", 1, False),
    (32, "127.0.0.1", 1, True), (32, "0.0.0.0", 1, True),
])  # fmt: skip
def test_beyond_loopback_a_key_is_longer(length: int, host: str, proxies: int, is_taken: bool) -> None:
    given = {"host": host, "proxies": proxies, "api_key": "k" * length}
    if is_taken:
        assert Settings(web=WebSettings.model_validate(given)).web.proxies == proxies
    else:
        with pytest.raises(ValidationError, match="at least 32 characters"):
            Settings(web=WebSettings.model_validate(given))


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("VITRINE_WEB__PROT", "VITRINE_WEB__PORT"),
        ("VITRINE_WEBB__PORT", "VITRINE_WEB__PORT"),
        ("VITRINE_WEB_PORT", "VITRINE_WEB__PORT"),
        ("VITRINE_WEB_API_KEY_FILE", "VITRINE_WEB__API_KEY"),
        ("VITRINE_NONSENSE__NAME", None),
        ("VITRINE_DATADIR", "VITRINE_DATA_DIR"),
    ],
)
def test_a_misspelt_name_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, hint: str | None
) -> None:
    monkeypatch.setenv(variable, "8000")
    get_settings.cache_clear()
    with pytest.raises(Misconfigured, match=f"{variable}: there is no such setting") as caught:
        get_settings()
    assert ("did you mean" in caught.value.message) is (hint is not None)
    assert hint is None or hint in caught.value.message


def test_a_renamed_setting_still_works_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VITRINE_GATE__OVERLAP_LEAST", "0.25")
    get_settings.cache_clear()
    assert get_settings().gate.min_overlap == 0.25
    assert "set VITRINE_GATE__MIN_OVERLAP" in caplog.text
    monkeypatch.setenv("VITRINE_GATE__MIN_OVERLAP", "0.5")
    get_settings.cache_clear()
    assert get_settings().gate.min_overlap == 0.5, "the new name wins"


@pytest.mark.parametrize("value", ["0.05", "0.050"])
def test_a_removed_setting_with_the_value_that_applies_is_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    monkeypatch.setenv("VITRINE_GATE__KNOWN_LOSS", value)
    get_settings.cache_clear()
    get_settings()
    assert caplog.text == ""


def test_a_removed_setting_about_speed_is_ignored_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VITRINE_DATABASE__POOL_SIZE", "20")
    get_settings.cache_clear()
    get_settings()
    assert "VITRINE_DATABASE__POOL_SIZE was removed and is ignored: 8 always applies" in caplog.text


@pytest.mark.parametrize("variable", ["VITRINE_SEARCH__TOP_K_MAX", "VITRINE_GATE__DRIFT_MOST"])
def test_a_removed_setting_that_changed_answers_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    get_settings.cache_clear()
    with pytest.raises(Misconfigured, match=f"{variable} was removed, and [0-9.]+ always applies"):
        get_settings()


def test_a_setting_is_either_there_or_removed() -> None:
    there = set(setting_variables(Settings))
    assert not there & REMOVED.keys()
    assert set(RENAMED.values()) <= there


@pytest.mark.parametrize(
    "variable", ["VITRINE_URL", "VITRINE_API_KEY", "VITRINE_IMAGE_TAG", "VITRINE_WORKER_NAME"]
)
def test_other_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "8000")
    get_settings.cache_clear()
    assert get_settings().web.port


def test_a_setting_whose_name_ends_in_file_is_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VITRINE_MONEY__RATES_FILE", str(tmp_path / "rates.json"))
    get_settings.cache_clear()
    assert get_settings().rates_path == tmp_path / "rates.json"


def test_a_missing_file_of_a_secret_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_WEB__API_KEY_FILE", "/nowhere/key")
    get_settings.cache_clear()
    with pytest.raises(Misconfigured, match="VITRINE_WEB__API_KEY_FILE: the file cannot be read"):
        get_settings()


@pytest.mark.parametrize("name", ["WEB__HOST", "WEB__PORT", "REDIS__NAME", "JOBS__IMPORT_ROOTS"])
def test_what_is_wrong_is_told_without_any_value(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A complaint about all settings together would show the end of them, which may be a password."""
    monkeypatch.setenv("VITRINE_FLOWER__PASSWORD", "hunter2")
    monkeypatch.setenv(f"VITRINE_{name}", "0.0.0.0" if name == "WEB__HOST" else "hunter2")
    get_settings.cache_clear()
    with pytest.raises(Misconfigured) as caught:
        get_settings()
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    assert "VITRINE_" in caught.value.message or "jobs" in caught.value.message


def test_secrets_come_from_files_and_are_not_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret-of-16-characters\n")
    monkeypatch.setenv("VITRINE_WEB__API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("VITRINE_REDIS__URL", "redis://:hunter2@127.0.0.1:6379/0")
    settings = Settings()
    assert settings.web.api_key is not None
    assert settings.web.api_key.get_secret_value() == "s3cret-of-16-characters"
    shown = f"{settings!r} {settings.model_dump_json()}"
    assert "s3cret" not in shown
    assert "hunter2" not in shown


def test_import_roots_are_folders_and_s3_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_JOBS__IMPORT_ROOTS", '["/srv/shop", "s3://goods/winter"]')
    assert Settings().jobs.import_roots == ("/srv/shop", "s3://goods/winter")
    for wrong in ('["shop"]', '["s3://"]', '["https://shop.example"]'):
        monkeypatch.setenv("VITRINE_JOBS__IMPORT_ROOTS", wrong)
        with pytest.raises(ValueError, match="neither an absolute folder nor"):
            Settings()
