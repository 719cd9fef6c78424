"""The old home of `GradesCsv`, for one release."""

from nbmark.nbgrader_plugins import renamed

__getattr__ = renamed(__name__, {"GradesCsv": "GradesCsv"})
