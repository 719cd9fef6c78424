"""TensorFlow without its start-up log, which tells a student nothing.

TensorFlow writes some of these lines before it reads any setting, so standard error is switched
off while the library loads. Errors in your own code are shown as usual.
"""

import contextlib
import os


@contextlib.contextmanager
def _silenced(descriptor):
    """Drop everything that is written to a file descriptor inside the block."""
    original, sink = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, descriptor)
    try:
        yield
    finally:
        os.dup2(original, descriptor)
        os.close(original)
        os.close(sink)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # a line needs no graphics card
with _silenced(2):
    import tensorflow as tf

    tf.constant(0.0)
tf.get_logger().setLevel("ERROR")  # hints about speed and old names would only alarm beginners
