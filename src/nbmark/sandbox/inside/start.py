"""Runs one of the programs in this folder: ``python -I start.py driver``, or ``server``.

The folder becomes a package under a name that no notebook would use, whatever it is called here.
"""

import gc
import importlib.util
import os
import sys

NAME = "_nbmark"


def package():
    """This folder as a package."""
    here = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(here, "__init__.py"), submodule_search_locations=[here]
    )
    sys.modules[NAME] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    package()
    gc.disable()  # what is imported stays: to look through it for garbage is a fifth of the time
    program = importlib.import_module(f"{NAME}.{sys.argv[1]}")
    gc.enable()
    program.main()
