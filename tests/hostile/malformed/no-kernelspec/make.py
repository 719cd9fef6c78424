import json


def make(folder, notebook):
    notebook["metadata"] = {}
    notebook.pop("nbformat_minor")
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
