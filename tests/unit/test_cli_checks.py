"""What `vitrine up` checks before it starts anything, and the secrets it makes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cli.services.addresses import flower_url, local_url
from cli.services.checks import ROOT, check_disk, check_folder, check_python, list_required_ports
from cli.services.plan import environment, programs
from cli.services.ports import PortRequest, check_free, find_port_holder
from cli.services.secret_files import read_or_create_secret
from cli.services.sockets import find_free_ports
from shared.errors import Conflict, Misconfigured, StorageUnavailable
from shared.settings import MilvusSettings, RedisSettings, Settings, WebSettings


@pytest.mark.parametrize("version", [(3, 10), (3, 13), (2, 7), (4, 0)])
def test_unsupported_python_is_named(version: tuple[int, int]) -> None:
    with pytest.raises(Misconfigured, match=rf"Python {version[0]}\.{version[1]}.*3\.11 or 3\.12"):
        check_python(version)


def test_supported_python_passes() -> None:
    check_python((3, 11))
    check_python((3, 12))
    check_python()


def test_full_disk_says_how_much_is_free(tmp_path: Path) -> None:
    check_disk(tmp_path, 1)
    with pytest.raises(StorageUnavailable, match=r"GiB are free.*VITRINE_DATA_DIR"):
        check_disk(tmp_path, 2**60)


def test_packages_that_would_hide_ours_are_refused(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(ROOT)
    (tmp_path / "web").mkdir()
    check_folder(tmp_path)  # a folder of pages is no package
    (tmp_path / "web" / "__init__.py").touch()
    with pytest.raises(Misconfigured, match="start from another folder"):
        check_folder(tmp_path)


@pytest.mark.slow
def test_port_in_use_names_its_holder() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        found = find_port_holder(port)
        assert found is not None
        assert found[0] == os.getpid()
        with pytest.raises(
            Conflict, match=rf"Port {port}, needed for tea, .*process {os.getpid()}.*TEA_PORT"
        ):
            check_free(
                [
                    PortRequest(find_free_ports(1)[0], "coffee", "COFFEE_PORT"),
                    PortRequest(port, "tea", "TEA_PORT"),
                ]
            )
    assert find_port_holder(port) is None
    check_free([PortRequest(port, "tea", "TEA_PORT")])


def test_only_what_is_started_here_needs_a_port() -> None:
    assert {each.variable for each in list_required_ports(Settings())} == {
        "VITRINE_WEB__PORT",
        "VITRINE_FLOWER__PORT",
        "VITRINE_REDIS__PORT",
        "VITRINE_MILVUS__PORT",
    }
    elsewhere = Settings(
        redis=RedisSettings.model_validate({"url": "redis://db/0"}),
        milvus=MilvusSettings(uri="http://db:19530"),
    )
    assert {each.variable for each in list_required_ports(elsewhere)} == {
        "VITRINE_WEB__PORT",
        "VITRINE_FLOWER__PORT",
    }


def test_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "password"
    secret = read_or_create_secret(path)
    assert len(secret) == 32
    assert read_or_create_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_create_secret(tmp_path / "other") != secret
    with pytest.raises(StorageUnavailable):
        read_or_create_secret(path / "below a file")


def test_children_are_told_by_environment_not_by_argv(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, web=WebSettings(port=8123))
    told = environment(settings, "redis://:s3cret@127.0.0.1:1/0", "http://127.0.0.1:2", "fl0wer")
    assert told["VITRINE_REDIS__URL"] == "redis://:s3cret@127.0.0.1:1/0"
    assert told["VITRINE_MILVUS__URI"] == "http://127.0.0.1:2"
    assert told["VITRINE_FLOWER__PASSWORD"] == "fl0wer"
    assert told["VITRINE_DATA_DIR"] == str(tmp_path)
    assert told["VITRINE_WEB__PORT"] == "8123"
    assert told["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
    words = " ".join(" ".join(program.arguments) for program in programs())
    assert "s3cret" not in words
    assert "fl0wer" not in words


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "127.0.0.1")],
)
def test_addresses_are_what_this_machine_reaches(host: str, shown: str) -> None:
    given = {"host": host, "port": 81, "api_key": "k" * 32, "proxies": 1}
    settings = Settings(web=WebSettings.model_validate(given))
    assert local_url(settings) == f"http://{shown}:81"
    assert flower_url(settings) == "http://127.0.0.1:5555"
