import json


def make(folder, notebook):
    cells = notebook["cells"]
    for cell in cells:
        cell["cell_type"] = {"code": "markdown", "markdown": "code"}[cell["cell_type"]]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
