"""TensorFlow, without the start-up log that says nothing to a student.

Some lines of it are written before any setting is read, so they are sent nowhere while the
library is loaded. Errors of your own code are shown as always.
"""

import contextlib
import os


@contextlib.contextmanager
def _nowhere(descriptor):
    """What is written to a file descriptor is dropped in the meantime."""
    kept, sink = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(sink)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # a line needs no graphics card
with _nowhere(2):
    import tensorflow as tf

    tf.constant(0.0)
tf.get_logger().setLevel("ERROR")  # hints on speed and on old names frighten more than they help
