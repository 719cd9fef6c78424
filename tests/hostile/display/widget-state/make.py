import json


def make(folder, notebook):
    state = {
        "version_major": 2,
        "state": {"x": {"model_name": "HTMLModel", "state": {"value": "<script>owned()</script>"}}},
    }
    notebook["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    notebook["metadata"]["title"] = "</title><script>owned()</script>"
    notebook["metadata"]["celltoolbar"] = "Create Assignment"
    (folder / "target.ipynb").write_text(json.dumps(notebook))
