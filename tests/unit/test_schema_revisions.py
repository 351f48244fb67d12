"""Every process compares the schema's revision with its own at its start, and says what to run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.database import Database
from shared.database.migrate import migrate
from shared.database.revisions import current_revision, known_revisions, require_schema
from shared.errors import Misconfigured

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NEWER = "9999"
#: How each process begins; none needs a broker, an index or a model to get so far.
PROCESSES: dict[str, list[str]] = {
    "web": ["-m", "gunicorn", "-c", "web/gunicorn_conf.py", "web.wsgi:app"],
    "worker": ["-m", "celery", "-A", "worker.app", "worker", "--queues", "search"],
    "maintenance": ["-m", "worker.maintenance"],
    "vitrine sweep": ["-m", "cli.main", "sweep"],
    "vitrine migrate": ["-m", "cli.main", "migrate"],
    "migrate": ["-m", "shared.database.migrate"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path


def database_in(folder: Path) -> Database:
    return Database(f"sqlite:///{folder}/vitrine.sqlite3")


def at_revision(folder: Path, revision: str | None) -> None:
    """A database at a revision; only its name is of another version."""
    database = database_in(folder)
    migrate(database)
    with database.write() as session:
        if revision is None:
            session.execute(text("DROP TABLE alembic_version"))
        else:
            session.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
    database.close()


def test_revisions_are_those_of_the_migrations() -> None:
    files = sorted((ROOT / "shared/database/migrations/versions").glob("*.py"))
    found = [re.search(r'^revision = "(\w+)"', f.read_text("utf-8"), re.MULTILINE) for f in files]
    assert [match[1] for match in found if match] == list(known_revisions())


def test_the_schema_of_this_version_is_accepted(data: Path) -> None:
    database = database_in(data)
    migrate(database)
    require_schema(database)
    assert current_revision(database) == known_revisions()[-1]
    database.close()


@pytest.mark.parametrize(
    ("revision", "says"),
    [
        (NEWER, [NEWER, known_revisions()[-1], "vitrine migrate", "newer version"]),
        (known_revisions()[-2], [known_revisions()[-2], known_revisions()[-1], "vitrine migrate"]),
        (None, ["no schema", known_revisions()[-1], "vitrine migrate"]),
    ],
)
def test_another_schema_is_refused_with_both_revisions(
    data: Path, revision: str | None, says: list[str]
) -> None:
    at_revision(data, revision)
    database = database_in(data)
    with pytest.raises(Misconfigured) as raised:
        require_schema(database)
    database.close()
    assert all(word in raised.value.message for word in says)


def test_migrating_goes_forward_only(data: Path) -> None:
    at_revision(data, NEWER)
    database = database_in(data)
    with pytest.raises(Misconfigured, match=NEWER):
        migrate(database)
    database.close()


@pytest.mark.parametrize("command", PROCESSES.values(), ids=PROCESSES)
def test_a_process_ends_with_one_clear_error(data: Path, command: list[str]) -> None:
    at_revision(data, NEWER)
    env = {
        **os.environ,
        "VITRINE_DATA_DIR": str(data),
        "VITRINE_DATABASE__URL": f"sqlite:///{data}/vitrine.sqlite3",
        "VITRINE_WEB__PORT": "0",
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
    )
    said = " ".join((ended.stdout + ended.stderr).split())
    assert ended.returncode != 0
    assert NEWER in said
    assert known_revisions()[-1] in said
    assert "vitrine migrate" in said
    assert "Traceback" not in said
