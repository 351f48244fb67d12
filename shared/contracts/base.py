"""Types shared by all contracts: names, ids, boxes and errors."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.contracts.product_ids import NewProductId as NewProductId
from shared.contracts.product_ids import ProductId as ProductId

CatalogueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,2}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Box = tuple[Fraction, Fraction, Fraction, Fraction]


class Contract(BaseModel):
    """Base of all contracts: immutable, and unknown fields are errors.

    ``shared.contracts.stored`` reads stored rows and ignores unknown fields.

    Attributes:
        NEEDED_BY: fields that an older worker must not ignore, with the minimum version of stored rows that
            has them; see ``shared.contracts.stored``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    NEEDED_BY: ClassVar[dict[str, int]] = {}


class ErrorBody(Contract):
    """Code, message and context of an error."""

    code: str
    message: str
    field: str | None = None
    request_id: str | None = None


class ErrorAnswer(Contract):
    error: ErrorBody


class Health(Contract):
    """Readiness by part."""

    ready: bool
    parts: dict[str, str] = Field(description="`ok`, or the error, by part")
