"""Start of one of the programs in this folder: ``python -I start.py driver``, or ``server``.

The folder becomes a package with a name that no notebook would use, whatever the folder's name is.
"""

import gc
import importlib.util
import os
import sys

NAME = "_nbmark"


def package():
    """Load this folder as a package."""
    # `python -I` leaves the script's folder out of the search path, so that a notebook cannot
    # import from it by accident. Relative imports then need a package made by hand.
    here = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(here, "__init__.py"), submodule_search_locations=[here]
    )
    sys.modules[NAME] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    package()
    # Imported modules are never freed. At the default threshold, garbage collection takes a fifth
    # of start-up.
    gc.disable()
    program = importlib.import_module(f"{NAME}.{sys.argv[1]}")
    gc.enable()
    program.main()
