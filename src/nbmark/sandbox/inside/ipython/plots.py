"""Matplotlib's backends that open windows, replaced by the one that shows pictures below a cell.

Nobody sees a window while work is graded, and the libraries that open one are not installed. A
notebook that asks for one, as in ``%matplotlib widget`` or ``matplotlib.use("TkAgg")``, gets
pictures instead of an error.
"""

import functools
import sys
from importlib.machinery import PathFinder

from ipykernel import eventloops

INLINE = "inline"
# Backends of ipympl, which Matplotlib knows only where ipympl is installed.
WIDGETS = ("widget", "ipympl", "module://ipympl.backend_nbagg")


def keep_pictures():
    """Make Matplotlib choose pictures in place of windows, whenever it is imported."""
    sys.meta_path.insert(0, Finder())
    eventloops.enable_gui = functools.partial(_enable_no_windows, eventloops.enable_gui)


def _enable_no_windows(enable, gui, kernel=None):
    """Enable no event loop of windows, as ``%gui qt`` asks for; it would block all later cells."""
    has_windows = eventloops.loop_map.get(gui) and gui != "asyncio"
    enable(None if has_windows else gui, kernel)


class Finder:
    """A finder that changes two of Matplotlib's modules right after their import."""

    def find_spec(self, name, path=None, target=None):
        change = CHANGES.get(name)
        spec = change and PathFinder.find_spec(name, path, target)
        if spec:
            spec.loader.exec_module = functools.partial(_execute, spec.loader.exec_module, change)
        return spec


def _execute(execute, change, module):
    execute(module)
    change(module)


def _change_registry(module):
    """Make the registry resolve each name of a backend with windows to the inline backend."""
    registry = module.backend_registry
    interactive = registry.list_builtin(module.BackendFilter.INTERACTIVE)
    windows = {*interactive, *registry.list_gui_frameworks(), *WIDGETS}

    def without_windows(method):
        def call(name, *arguments):
            is_window = isinstance(name, str) and name.lower() in windows
            return method(INLINE if is_window else name, *arguments)

        return functools.wraps(method)(call)

    registry.without_windows = without_windows
    for name in ("is_valid_backend", "load_backend_module"):
        setattr(registry, name, without_windows(getattr(registry, name)))
    for name in ("resolve_backend", "resolve_gui_or_backend"):
        setattr(registry, name, without_windows(getattr(registry, name)))


def _change_settings(module):
    """Make ``rcParams["backend"]`` hold the name of the backend that is used."""
    validate = module.backend_registry.without_windows(module.validate_backend)
    module.validate_backend = validate
    module._validators["backend"] = validate


CHANGES = {"matplotlib.backends.registry": _change_registry, "matplotlib.rcsetup": _change_settings}
