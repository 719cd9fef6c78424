import json


def make(folder, notebook):
    cells = notebook["cells"]
    for one in cells:
        one["cell_type"] = {"code": "markdown", "markdown": "code"}[one["cell_type"]]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
