"""Opening of large shared libraries on a second processor, while Python imports other modules.

Linking TensorFlow's library takes 0.4 s, in which a process that only imports does nothing else.
"""

import ctypes
import glob
import importlib.util
import os
import threading

RTLD_LAZY = 1


def begin(names):
    """Start and return a thread that opens the shared libraries of packages; join it.

    Parameters
    ----------
    names
        Dotted names of modules. Each file ``lib*.so*`` in the folder of their package is opened; a
        name that is not a package, or not installed, has none.
    """
    packages = dict.fromkeys(name.partition(".")[0] for name in names)
    paths = [path for package in packages for path in _libraries(package)]
    thread = threading.Thread(target=_open, args=(paths,), name="preload")
    thread.start()
    return thread


def _libraries(package):
    # `find_spec` does not import a top-level package, so it can be called before the imports.
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    folders = (spec and spec.submodule_search_locations) or []
    return sorted(
        path for folder in folders for path in glob.glob(os.path.join(folder, "lib*.so*"))
    )


def _open(paths):
    # A foreign function releases the GIL while it runs, the constructor `ctypes.CDLL(path)` does
    # not. Errors are ignored here: a library that cannot be opened fails again when its package is
    # imported.
    for path in paths:
        ctypes.CDLL(None).dlopen(os.fsencode(path), RTLD_LAZY)
