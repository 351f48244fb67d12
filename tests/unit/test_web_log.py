"""Log lines: one event each, with the request's fields, from structlog and the standard library alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.process.log import bound, configure_logging, get_logger


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_json_lines_carry_the_bound_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json", "web")
    with bound(request_id="r-1"):
        get_logger("vitrine").info("accepted", search="s-1")
        logging.getLogger("elsewhere").warning("slow: %s", "disk")
    get_logger("vitrine").debug("not shown")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["search"], first["request_id"], first["process"]) == (
        "accepted",
        "s-1",
        "r-1",
        "web",
    )
    assert (second["event"], second["level"], second["request_id"]) == ("slow: disk", "warning", "r-1")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_local_variables(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", form, "web")  # type: ignore[arg-type]
    password = "".join(("hun", "ter2"))
    try:
        raise ValueError("broken" + password[:0])
    except ValueError as error:
        get_logger("vitrine").error("unexpected", exc_info=error)
    written = capsys.readouterr().err
    assert "ValueError: broken" in written
    assert "hunter2" not in written
