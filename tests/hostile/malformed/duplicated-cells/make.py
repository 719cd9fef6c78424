import json


def make(folder, notebook):
    cells = notebook["cells"]
    notebook["cells"] = [cell for cell in cells for _ in range(2)]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
