import json


def make(folder, notebook):
    cells = notebook["cells"]
    for one in cells:
        one["metadata"] = {}
        one.pop("id", None)
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
