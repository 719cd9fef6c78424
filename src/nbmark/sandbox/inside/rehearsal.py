"""What the first cell, the first picture and the first error of any notebook load, loaded once.

A child of a fork server finds it there: 20 ms of a cell, 40 ms of a picture, 60 ms of an error,
25 ms of TensorFlow's first number.
"""

import contextlib
import sys

# Module that must be loaded → cells.
CELLS = {
    "IPython": ["from IPython.display import display\ndisplay(0)", "1 / 0"],
    "numpy": ["import numpy.random"],
    # TensorFlow fills its registers when it is first asked; that starts no thread.
    "tensorflow.python.data": [
        """
from tensorflow.python.data.ops import concatenate_op, flat_map_op, from_tensors_op, range_op, zip_op
from tensorflow.python.framework import kernels, op_def_registry
from tensorflow.python.util import pywrap_xla_ops
op_def_registry.get("an operation that does not exist")
kernels.get_registered_kernels_for_op("Const")
pywrap_xla_ops.get_cpu_kernel_names()
"""
    ],
    "matplotlib.pyplot": [
        """
from matplotlib import pyplot
figure, axes = pyplot.subplots()
axes.plot([1, 10], [1, 10], label="a")
axes.scatter([1, 10], [1, 10])
axes.set(title="Aa", xlabel="a")
axes.legend()
pyplot.show()
"""
    ],
}
LAST_ERROR = ("last_type", "last_value", "last_traceback", "last_exc")


def rehearse(kernel):
    """Run such cells in the process that is to be forked; no trace of them stays."""
    for module, cells in CELLS.items():
        if module in sys.modules:
            for code in cells:
                kernel.try_out(code)
    for name in LAST_ERROR:
        with contextlib.suppress(AttributeError):
            delattr(sys, name)
