"""Names of the environment variables: which exist, and which look like a misspelt one.

A variable that no setting reads would be ignored, and the default would be used in silence.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel

_log = logging.getLogger(__name__)

PREFIX: Final = "VITRINE_"
_BETWEEN: Final = "__"
#: Suffix of variables that name a file with the value.
FILE_SUFFIX: Final = "_FILE"
#: Variables that were renamed: the old name still works, with a warning.
RENAMED: Final = {
    f"{PREFIX}GATE__OVERLAP_LEAST": f"{PREFIX}GATE__MIN_OVERLAP",
    f"{PREFIX}CALIBRATION__LEAST_PRODUCTS": f"{PREFIX}CALIBRATION__MIN_PRODUCTS",
    f"{PREFIX}SWEEP__RING_AFTER_S": f"{PREFIX}SWEEP__REPUBLISH_AFTER_S",
    f"{PREFIX}GATE__FAILED_MOST": f"{PREFIX}GATE__MAX_FAILED_SHARE",
}
#: Variables that were removed, with the value that always applies now. A variable with this value is ignored.
#: Any other is ignored with a warning if it was about speed alone (False), and refused if it changed what is
#: accepted, found or promoted (True): that must not change without notice.
REMOVED: Final = {
    f"{PREFIX}REDIS__MAXMEMORY_BYTES": ("536870912", False),
    f"{PREFIX}DATABASE__POOL_SIZE": ("8", False),
    f"{PREFIX}IMAGES__QUERY_MAX_PIXELS": ("16000000", True),
    f"{PREFIX}IMAGES__MAX_SIDE_PX": ("16000", True),
    f"{PREFIX}IMAGES__QUERY_SIDE_PX": ("1280", True),
    f"{PREFIX}IMAGES__QUERY_MAX_BYTES": ("1000000", True),
    f"{PREFIX}MODELS__MAX_OBJECTS": ("8", True),
    f"{PREFIX}SEARCH__BATCH": ("16", False),
    f"{PREFIX}SEARCH__TOP_K_MAX": ("200", True),
    f"{PREFIX}SEARCH__PROBE_ROWS": ("1000000", False),
    f"{PREFIX}JOBS__WINDOW": ("4", False),
    f"{PREFIX}GATE__KNOWN_LOSS": ("0.05", True),
    f"{PREFIX}GATE__MIN_KNOWN_RECALL": ("0.5", True),
    f"{PREFIX}GATE__KNOWN_LEAST": ("0.5", True),
    f"{PREFIX}GATE__DRIFT_MOST": ("0.3", True),
    f"{PREFIX}GATE__MAX_SCORE_DRIFT": ("0.3", True),
    f"{PREFIX}GATE__WAIT_S": ("120", False),
    f"{PREFIX}CALIBRATION__CHANGED_SHARE": ("0.2", False),
    f"{PREFIX}WEB__WAIT_MAX_S": ("20", False),
    f"{PREFIX}MONEY__RATES_URL": ("https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml", True),
    f"{PREFIX}WEBHOOKS__TIMEOUT_S": ("10", False),
}
#: Minimum similarity of two names, from 0 to 1, for a suggestion.
_SIMILARITY: Final = 0.9


def setting_variables(settings: type[BaseModel]) -> Iterator[str]:
    """Yield the variable of every setting, such as ``VITRINE_WEB__PORT``."""
    for name, field in settings.model_fields.items():
        group = field.default
        inner = type(group).model_fields if isinstance(group, BaseModel) else None
        for variable in [name] if inner is None else [f"{name}{_BETWEEN}{each}" for each in inner]:
            yield PREFIX + variable.upper()


def check_variables(settings: type[BaseModel]) -> None:
    """Refuse variables that no setting reads but that look like one.

    With ``__`` every unknown name is refused, because only settings have such names. Other names, such as
    ``VITRINE_WEB_PORT``, are refused only if they are close to that of a setting.

    Raises:
        ValueError: a name is unknown, and the message has the one that was probably meant; or the setting was
            removed, and its value would no longer apply.
    """
    known = {*setting_variables(settings), *RENAMED, *REMOVED}
    for variable in os.environ:
        name = variable if variable in known else variable.removesuffix(FILE_SUFFIX)
        if not variable.startswith(PREFIX) or name in known:
            continue
        close = difflib.get_close_matches(name, sorted(known), 1, _SIMILARITY)
        if close or _BETWEEN in name:
            hint = f": did you mean {close[0]}?" if close else ";"
            raise ValueError(f"{variable}: there is no such setting{hint} docs/settings.md lists them")


def drop_removed(values: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the variables without those of removed settings.

    Args:
        values: variables by name in lower case.

    Raises:
        ValueError: a removed setting has a value that changed what Vitrine accepts, finds or promotes.
    """
    found = dict(values)
    for name, (fixed, changed_answers) in REMOVED.items():
        value = found.pop(name.lower(), None)
        if value is None or _is_same(value, fixed):
            continue
        if changed_answers:
            raise ValueError(f"{name} was removed, and {fixed} always applies: remove the variable")
        _log.warning("%s was removed and is ignored: %s always applies", name, fixed)
    return found


def _is_same(value: str, fixed: str) -> bool:
    try:
        return float(value) == float(fixed)
    except ValueError:
        return value.strip() == fixed


def rename_variables(values: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the variables under their current names; a current name wins over its old one.

    Args:
        values: variables by name in lower case.
    """
    found = dict(values)
    for old, new in RENAMED.items():
        value = found.pop(old.lower(), None)
        if value is not None:
            _log.warning("%s was renamed: set %s", old, new)
            found.setdefault(new.lower(), value)
    return found


def is_file_variable(name: str, settings: type[BaseModel]) -> bool:
    """Return whether a variable names a file with the value of a setting."""
    return name.startswith(PREFIX) and name.endswith(FILE_SUFFIX) and name not in setting_variables(settings)
