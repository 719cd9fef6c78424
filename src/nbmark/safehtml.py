"""The old home of the HTML filters, for one release."""

from nbmark.nbgrader_plugins import renamed

__getattr__ = renamed(__name__, {"clean": "clean_html", "markdown": "markdown2html"})
