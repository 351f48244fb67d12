"""Record the statements that code sends to a database, and read the plans of those on large tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event

from shared.database import Database

#: Tables that grow with the catalogue, its jobs or its searches.
LARGE = ("products", "images", "detections", "job_items", "chunks", "job_failures", "searches")
#: Columns that a large part of a table has in common: a lookup by them alone reads that part.
_BROAD = {"catalogue_id", "index_version", "job_id", "models"}
#: From this number of rows on, PostgreSQL's estimate counts as a large part of a table.
_MANY_ROWS = 10_000
_LOOKUP = re.compile(r"(SCAN|SEARCH) (\S+)(.*)")
#: The first or last entry of an index, in a statement of this code with single spaces; never input.
_END_OF_INDEX = re.compile(r"SELECT (?:min|max)\([\w.]+\) AS \w+ FROM \w+ WHERE [\w.]+ = \S+")
_CONSTRAINT = re.compile(r"(\w+)[=<>]")


@dataclass
class Statements:
    """Distinct statements with the parameters of their first execution."""

    found: dict[str, Any] = field(default_factory=dict)

    def offences(self, database: Database) -> dict[str, list[str]]:
        """Return by statement what its plan reads or sorts too much of."""
        explain = _explain_sqlite if database.is_sqlite else _explain_postgresql
        with database.write_connection() as connection:
            if not database.is_sqlite:
                # PostgreSQL reads a small table whole although an index would do. What it still scans then
                # has no index that helps.
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            # Read once, so that the connection knows the current statistics.
            connection.exec_driver_sql("SELECT count(*) FROM catalogues").all()
            judged = {text: explain(connection, text, values) for text, values in self.found.items()}
        return {text: lines for text, lines in judged.items() if lines}


@contextmanager
def recorded(database: Database) -> Iterator[Statements]:
    """Record the statements of this process on databases of the same kind; a worker opens its own."""
    statements = Statements()

    def note(connection: Connection, _: Any, statement: str, values: Any, ___: Any, many: bool) -> None:
        if connection.dialect.name == database.engine.dialect.name and any(
            re.search(rf"\b{table}\b", statement) for table in LARGE
        ):
            statements.found.setdefault(statement, values[0] if many and isinstance(values, list) else values)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _explain_sqlite(connection: Connection, statement: str, values: Any) -> list[str]:
    if statement.startswith("INSERT") and "SELECT" not in statement:
        return []
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    sorts = any("TEMP B-TREE" in line for line in plan)
    stops_early = ("LIMIT" in statement and not sorts) or _END_OF_INDEX.fullmatch(
        " ".join(statement.split())
    ) is not None
    return [line for line in plan if _reads_much(line, statement, stops_early)]


def _reads_much(line: str, statement: str, stops_early: bool) -> bool:
    found = _LOOKUP.match(line)
    table = None if found is None else _table(found[2], statement)
    if found is None or table not in LARGE:
        return False
    if re.search(rf"EXISTS \(SELECT [^()]*FROM {table}\b", statement):
        stops_early = True  # at the first row
    if found[1] == "SCAN":
        return not (stops_early and "INDEX" in found[3])
    _, bracket, constraints = found[3].rpartition("(")
    is_broad = bool(bracket) and set(_CONSTRAINT.findall(constraints)) <= _BROAD
    return is_broad and not stops_early


def _table(name: str, statement: str) -> str:
    """Return the table of an alias."""
    aliased = re.search(rf"\b(\w+) AS {re.escape(name)}\b", statement)
    return aliased[1] if aliased else name


def _explain_postgresql(connection: Connection, statement: str, values: Any) -> list[str]:
    if statement.startswith("INSERT") and "SELECT" not in statement:
        return []
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
    return list(_walk(plan[0]["Plan"], is_limited=False))


def _walk(node: dict[str, Any], is_limited: bool) -> Iterator[str]:
    kind, rows = node["Node Type"], node["Plan Rows"]
    if kind == "Limit":
        is_limited = True
    if "Sort" in kind and kind != "Incremental Sort":
        if rows >= _MANY_ROWS:
            yield f"{kind} of {rows} rows"
        is_limited = False
    is_large = node.get("Relation Name") in LARGE
    if is_large and kind == "Seq Scan":
        yield f"Seq Scan on {node['Relation Name']}"
    elif is_large and rows >= _MANY_ROWS and not is_limited:
        yield f"{kind} on {node['Relation Name']} of {rows} rows"
    for child in node.get("Plans", ()):
        yield from _walk(child, is_limited)
