"""Table of ranking settings of catalogues."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, Json


class Ranking(Base):
    __tablename__ = "rankings"

    catalogue_id: Mapped[int] = mapped_column(
        ForeignKey("catalogues.id", ondelete="CASCADE"), primary_key=True
    )
    boosts: Mapped[list[dict[str, Any]]] = mapped_column(Json)  # of shared.contracts.search.Boost
