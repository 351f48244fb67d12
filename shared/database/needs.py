"""SQL condition on the version that stored JSON requires."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, String, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from shared.contracts.stored import NEEDS, READS


def is_understood(column: Any) -> ColumnElement[bool]:
    """Return the condition that JSON in ``column`` requires no newer version than this program's.

    Damaged JSON and JSON that is no object count as understood: the row is claimed and fails alone.
    """
    known = [str(version) for version in range(READS + 1)]
    return func.coalesce(_Needs(column), known[-1]).in_(known)


class _Needs(FunctionElement[str]):
    """The text under ``needs`` in a JSON column, or NULL."""

    type = String()
    inherit_cache = True
    name = "needs"


@compiles(_Needs, "postgresql")
def _of_postgresql(element: _Needs, compiler: Any, **how: Any) -> str:
    return f"({compiler.process(element.clauses, **how)} ->> '{NEEDS}')"


@compiles(_Needs, "sqlite")
def _of_sqlite(element: _Needs, compiler: Any, **how: Any) -> str:
    column = compiler.process(element.clauses, **how)
    # `json_extract` fails the whole statement for a single invalid text.
    return f"CASE WHEN json_valid({column}) THEN CAST(json_extract({column}, '$.{NEEDS}') AS TEXT) END"
