"""The old home of `SafeCollect`, for one release."""

from nbmark.nbgrader_plugins import renamed

__getattr__ = renamed(__name__, {"SafeCollect": "SafeCollect"})
