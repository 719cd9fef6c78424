import json


def make(folder, notebook):
    cells = notebook["cells"]
    notebook["cells"] = cells * 1000
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
