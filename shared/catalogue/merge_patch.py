"""A partial change of a product: JSON Merge Patch (RFC 7396) over its data."""

from __future__ import annotations

from typing import Any

from shared.contracts import ProductIn


def apply_patch(product: Any, patch: dict[str, Any]) -> ProductIn:
    """Return a product's data with a patch merged in.

    Args:
        product: anything with the fields of ``ProductIn``: the table's row, ``ProductOut``.
        patch: fields as in ``ProductIn``. ``null`` takes a field, or a key of an object, away; objects are
            merged key by key; anything else replaces what was there.

    Raises:
        ValidationError: the result is no product.
    """
    fields = {name: getattr(product, name) for name in ProductIn.model_fields}
    now = ProductIn.model_validate(fields).model_dump(mode="json")
    return ProductIn.model_validate(_merged(now, patch))


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged
