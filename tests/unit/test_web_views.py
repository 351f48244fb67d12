"""Views share the application's services, and their names are a verb and an object."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from web.services import Services

WEB = Path(__file__).parents[2] / "web"
MODULES = {str(path.relative_to(WEB)): ast.parse(path.read_text()) for path in sorted(WEB.rglob("*.py"))}
SERVICE_TYPES = {str(field.type) for field in fields(Services)}
ROUTES = {f"blueprint.{method}" for method in ("get", "post", "put", "patch", "delete")}
VERBS = {
    *("add", "calibrate", "cancel", "create", "delete", "export", "find", "get", "list", "patch", "pause"),
    *("poll", "promote", "prune", "put", "rebuild", "reconcile", "remove", "reprocess", "resume", "retry"),
    *("revoke", "roll", "rotate", "run", "search", "send", "set", "show", "sign", "start", "stream"),
}


def built_services(module: ast.Module) -> list[str]:
    """Return the service classes that a module instantiates."""
    calls = (node.func for node in ast.walk(module) if isinstance(node, ast.Call))
    return [func.id for func in calls if isinstance(func, ast.Name) and func.id in SERVICE_TYPES]


def views() -> Iterator[tuple[str, str]]:
    """Yield module and name of each function that a blueprint routes to."""
    for name, module in MODULES.items():
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and any(map(is_route, node.decorator_list)):
                yield name, node.name


def is_route(decorator: ast.expr) -> bool:
    """Return whether a decorator is ``@blueprint.get(...)`` or another method's."""
    func = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(func, ast.Attribute) and ast.unparse(func) in ROUTES


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"app.py"}))
def test_no_module_builds_a_service_of_its_own(name: str) -> None:
    assert built_services(MODULES[name]) == []


def test_the_check_finds_the_services_of_the_application() -> None:
    assert len(built_services(MODULES["app.py"])) > 20


def test_view_names_are_verb_and_object() -> None:
    found = list(views())
    wrong = [
        f"{module}: {name}" for module, name in found if name.split("_")[0] not in VERBS or "_" not in name
    ]
    assert len(found) > 70
    assert wrong == []
