"""A faster ``import nbgrader.api`` for commands that only need the gradebook.

The import took 2.3 s. Of that, jsonschema took 1.1 s to compile a grammar of web addresses if it
finds a certain package, and nbgrader's package took 0.6 s for its four web extensions and 0.2 s for
libraries for archives, web requests and formats. The gradebook uses none of these. In nbgrader's
own commands the package is loaded already, so nothing changes there.
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

# jsonschema loads these where they are installed, to check formats that no notebook has.
FORMATS = """
    fqdn idna isoduration jsonpointer rfc3339_validator rfc3986_validator rfc3987 rfc3987_syntax
    uri_template webcolors
""".split()
# nbgrader imports these at once, but calls them only in other commands.
MARK = "__registered_by_nbmark__"
DEFERRED = ("setuptools", "setuptools.archive_util", "requests")


@contextlib.contextmanager
def slim() -> Iterator[None]:
    """Let imports of nbgrader's modules in the block load no more than the gradebook needs."""
    loaded = sys.modules.get("nbgrader")
    if loaded is not None and not hasattr(loaded, MARK):
        yield  # inside nbgrader's own commands, where everything is loaded already
        return
    stand_ins = dict.fromkeys(FORMATS) | {name: _DeferredModule(name) for name in DEFERRED}
    missing = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    # None in `sys.modules` makes an import fail as if the package were not installed.
    sys.modules.update(missing)  # type: ignore[arg-type]  # typed without None
    spec = find_spec("nbgrader") if loaded is None else None
    if spec is not None:
        # The package is registered without running its code, which imports the web extensions.
        # Python still finds its modules, and they ask the package only for its version.
        package = module_from_spec(spec)
        package.__dict__["__version__"] = version("nbgrader")
        package.__dict__[MARK] = True
        sys.modules["nbgrader"] = package
    try:
        yield
    finally:
        # Later code in this process, such as nbgrader's plug-ins, may need the real modules.
        for name in missing:
            sys.modules.pop(name, None)


class _DeferredModule(ModuleType):
    """A stand-in for a module, which loads the module when one of its functions is called."""

    def __getattr__(self, attribute: str) -> Any:
        # The import system asks for names like __spec__; a function in their place confuses it.
        if attribute.startswith("__"):
            raise AttributeError(attribute)

        def call(*arguments: Any, **keywords: Any) -> Any:
            return getattr(import_module(self.__name__), attribute)(*arguments, **keywords)

        return call
