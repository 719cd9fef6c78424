"""Makes ``import nbgrader.api`` cost what it is worth to a command that only needs the gradebook.

Measured: of the 2.3 s that the import took, 1.1 s went into a grammar of web addresses that
jsonschema compiles with a package it may find, 0.6 s into nbgrader's four web extensions, which its
package imports whatever is asked of it, 0.2 s into packages for archives, web requests and formats.
None is used here. Inside nbgrader's own commands, where the package is loaded already, nothing
changes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

# What jsonschema loads if it is there, to check formats that no notebook has.
FORMATS = (
    "fqdn",
    "idna",
    "isoduration",
    "jsonpointer",
    "rfc3339_validator",
    "rfc3986_validator",
    "rfc3987",
    "rfc3987_syntax",
    "uri_template",
    "webcolors",
)
# What nbgrader imports at once and calls in other commands.
LATER = ("setuptools", "setuptools.archive_util", "requests")


@contextlib.contextmanager
def slim() -> Iterator[None]:
    """The first import of something of nbgrader, inside the block, loads no more than it needs."""
    if "nbgrader" in sys.modules:
        yield
        return
    put = dict.fromkeys(FORMATS) | {name: _Later(name) for name in LATER}
    missing = {name: module for name, module in put.items() if name not in sys.modules}
    sys.modules.update(missing)  # type: ignore[arg-type]  # None says "not there"
    spec = find_spec("nbgrader")
    if spec is not None:
        package = module_from_spec(spec)  # its parts are found, its code is not run
        package.__dict__["__version__"] = version("nbgrader")
        sys.modules["nbgrader"] = package
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


class _Later(ModuleType):
    """A module that is loaded when something of it is called."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)

        def call(*arguments: Any, **keywords: Any) -> Any:
            return getattr(import_module(self.__name__), attribute)(*arguments, **keywords)

        return call
