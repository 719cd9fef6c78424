import json


def make(folder, notebook):
    cells = notebook["cells"]
    for cell in cells:
        cell["metadata"] = {}
        cell.pop("id", None)
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
