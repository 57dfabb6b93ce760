"""The layout of the code: how deep the imports are. `make check` keeps which package may import which."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("curation", "pipelines", "annotation_ui")
    for path in (ROOT / package).rglob("*.py")
}
FLOORS = 12
"""Modules on the longest chain of imports that are made while a module is loaded."""


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yields what runs while a module is loaded: no bodies of functions, and nothing that is only for type checkers."""
    for child in ast.iter_child_nodes(node):
        checkers = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if isinstance(child, ast.stmt) and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child
            yield from () if checkers else statements(child)


@cache
def imports(module: str) -> set[str]:
    """Returns the product's modules that a module imports while it is loaded."""
    names: set[str] = set()
    for statement in statements(ast.parse(FILES[module].read_text())):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            package = statement.module or ""
            names |= {n if (n := f"{package}.{alias.name}") in FILES else package for alias in statement.names}
    return {name for name in names if name in FILES and name != module}


def longest(module: str, above: tuple[str, ...] = ()) -> list[str]:
    """Returns the longest chain of imports that begins with a module; fails if imports form a circle."""
    assert module not in above, f"a circle of imports: {' → '.join((*above, module))}"
    if module not in _chains:
        below = max((longest(name, (*above, module)) for name in imports(module)), key=len, default=[])
        _chains[module] = [module, *below]
    return _chains[module]


_chains: dict[str, list[str]] = {}


def test_no_chain_of_imports_is_longer_than_a_reader_can_follow() -> None:
    chain = max(map(longest, FILES), key=len)
    assert len(chain) <= FLOORS, " → ".join(chain)
    assert len(chain) > 8  # else the imports were not found
