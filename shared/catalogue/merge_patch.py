"""Apply partial changes of products as JSON Merge Patch (RFC 7396)."""

from __future__ import annotations

from typing import Any

from shared.contracts import ProductIn


def apply_patch(product: Any, patch: dict[str, Any]) -> ProductIn:
    """Merge a patch into the data of a product.

    Args:
        product: an object with the fields of ``ProductIn``, such as the table's row or ``ProductOut``.
        patch: fields as in ``ProductIn``. ``null`` removes a field, or a key of an object; objects are merged
            key by key; other values replace the old ones.

    Raises:
        ValidationError: the result is no valid product.
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
