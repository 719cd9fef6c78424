"""The course's configuration: stock nbgrader with nbmark plugged in."""

import os
import sys

# nbgrader starts `alembic` by name when it makes a gradebook. This lets it find its own.
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")

c = get_config()  # noqa: F821  # nbgrader defines it

c.CourseDirectory.course_id = "curve-fitting"
c.NbGrader.logfile = ""

# nbmark grades, collects, exports, and adds up the points on feedback pages. Everything else is
# nbgrader's own.
c.Autograde.exporter_class = "nbmark.nbgrader_plugins.GradingExporter"
c.ExchangeFactory.collect = "nbmark.nbgrader_plugins.SafeCollect"
c.ExportApp.plugin_class = "nbmark.nbgrader_plugins.GradesCsv"
c.GenerateFeedback.preprocessors = [
    "nbmark.nbgrader_plugins.CountedGrades",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]

# Instructors see what students write into text cells, so nbmark removes scripts from it.
c.HTMLExporter.sanitize_html = True
c.HTMLExporter.filters = {
    "clean_html": "nbmark.nbgrader_plugins.clean_html",
    "markdown2html": "nbmark.nbgrader_plugins.markdown2html",
}
