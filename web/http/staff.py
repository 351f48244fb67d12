"""Members of staff who signed in to the proxy in front (OIDC), which names them in a header."""

from __future__ import annotations

from flask import request

from shared.access.principal import Principal, owner_hash
from shared.access.roles import Role
from shared.errors import Refused
from shared.settings import Settings
from web.http import audit

_MAX_LABEL_CHARS = 64


def find_principal(settings: Settings, *, must_have_role: bool) -> Principal | None:
    """Return the member of staff that the proxy names; None if it names none.

    Args:
        must_have_role: refuse a name that is not in ``VITRINE_WEB__STAFF``, instead of returning None.

    Raises:
        Refused: the name is not in ``VITRINE_WEB__STAFF``.
    """
    name = request.headers.get(settings.web.staff_header, "").strip().lower()
    if not name:
        return None
    label = f"staff:{name}"[:_MAX_LABEL_CHARS]
    role = settings.web.staff_roles.get(name)
    if role is None and not must_have_role:
        return None
    if role is None:
        audit.note_action(label, "staff.refused")
        raise Refused(
            f"{name} is signed in, but has no role here. The owner of this server can add it to "
            "VITRINE_WEB__STAFF."
        )
    return Principal(Role(role), label, owner_hash(label))
