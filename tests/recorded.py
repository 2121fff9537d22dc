"""Which kinds of events the source records, read from the source: no run has to reach each of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("governance", "approvals", "rollback")
SINKS = ("record", "record_named")  # of governance.ledger.Act; both take the kind second
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Recorded(NamedTuple):
    """A kind that some line hands to the ledger."""

    kind: str
    where: str  # file:line


class Unreadable(Exception):
    """What a line records cannot be told from the source. Give it a literal, or a table of literals."""


class Module:
    """One file, with its parents."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.tree = path, ast.parse(text)
        self.name = ".".join(path.with_suffix("").parts)
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }

    @cached_property
    def calls(self) -> list[ast.Call]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]

    @cached_property
    def imported(self) -> dict[str, str]:
        """Return where each name that was imported comes from."""
        return {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }

    def function_around(self, node: ast.AST) -> Function | None:
        while (node := self.parents.get(node)) is not None:
            if isinstance(node, Function):
                return node
        return None

    def assigned(self, name: str, function: Function | None) -> list[ast.expr]:
        """Return what is assigned to a name in a function, or else in the module."""
        for scope in (function, self.tree):
            found = [
                node.value
                for node in (ast.walk(scope) if scope is function and scope else self.tree.body)
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                if isinstance(target, ast.Name) and target.id == name
            ]
            if found:
                return found
        return []


class Source:
    """All modules of some packages."""

    def __init__(self, files: dict[Path, str]) -> None:
        self.modules = [Module(path, text) for path, text in files.items()]

    @classmethod
    def of_the_product(cls) -> Source:
        return cls(
            {
                path.relative_to(ROOT): path.read_text()
                for package in PACKAGES
                for path in sorted((ROOT / package).rglob("*.py"))
                if "migrations" not in path.parts
            }
        )

    def recorded(self) -> Iterator[Recorded]:
        """Yield every kind that some line may record. Raises Unreadable."""
        for module in self.modules:
            for call in module.calls:
                if (
                    isinstance(call.func, ast.Attribute)
                    and call.func.attr in SINKS
                    and len(call.args) > 1
                ):
                    yield from self._kinds(call.args[1], module, call)

    def _kinds(self, value: ast.expr, module: Module, at: ast.AST) -> Iterator[Recorded]:
        function = module.function_around(at)
        match value:
            case ast.Constant(value=str(kind)):
                yield Recorded(kind, f"{module.path}:{value.lineno}")
            case ast.IfExp(body=one, orelse=other):
                yield from self._kinds(one, module, at)
                yield from self._kinds(other, module, at)
            case ast.Dict(values=values):
                for each in values:
                    yield from self._kinds(each, module, at)
            case ast.Subscript(value=ast.Name() as table):
                yield from self._kinds(table, module, at)
            case ast.Name(id=name) if function and name in _parameters(function):
                yield from self._given(name, function, module)
            case ast.Name(id=name) if assigned := module.assigned(name, function):
                for each in assigned:
                    yield from self._kinds(each, module, at)
            case _:
                raise Unreadable(f"{module.path}:{value.lineno}: {ast.unparse(value)}")

    def _given(self, name: str, function: Function, module: Module) -> Iterator[Recorded]:
        """Follow a parameter to whatever callers give for it."""
        place = _parameters(function).index(name)
        for other in self.modules:
            for call in other.calls:
                if _calls(call, function.name, module, other):
                    named = [key.value for key in call.keywords if key.arg == name]
                    for value in [*named, *call.args[place : place + 1]]:
                        yield from self._kinds(value, other, call)


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return names[1:] if names[:1] == ["self"] else names


def _calls(call: ast.Call, name: str, module: Module, here: Module) -> bool:
    """Whether a call in one module is of a function of another, or of its own."""
    match call.func:
        case ast.Name(id=called):
            own = here is module and called == name
            return own or here.imported.get(called) == f"{module.name}.{name}"
        case ast.Attribute(value=ast.Name(id=holder), attr=called) if called == name:
            return here.imported.get(holder) == module.name or (holder == "self" and here is module)
    return False
