"""Opens large shared libraries on another processor, while Python imports something else.

To link TensorFlow's takes 0.4 s, in which a process that only imports would do nothing else.
"""

import ctypes
import glob
import importlib.util
import os
import threading

RTLD_LAZY = 1


def begin(names):
    """A thread that opens what lies as ``lib*.so*`` in the folders of these packages; join it.

    Parameters
    ----------
    names
        Dotted names of modules; what is no package, or not there, has no libraries.
    """
    packages = dict.fromkeys(name.partition(".")[0] for name in names)
    paths = [path for package in packages for path in _libraries(package)]
    thread = threading.Thread(target=_open, args=(paths,), name="preload")
    thread.start()
    return thread


def _libraries(package):
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    folders = (spec and spec.submodule_search_locations) or []
    return sorted(path for one in folders for path in glob.glob(os.path.join(one, "lib*.so*")))


def _open(paths):
    # Called like this it lets other threads run, unlike `ctypes.CDLL(path)`. What cannot be opened
    # fails again where it is imported.
    for path in paths:
        ctypes.CDLL(None).dlopen(os.fsencode(path), RTLD_LAZY)
