import json


def make(folder, notebook):
    cells = notebook["cells"]
    ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in cells]
    notebook["cells"] = [
        cell
        for cell, name in zip(cells, ids, strict=True)
        if name not in ("number", "function", "array", "later")
    ]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
