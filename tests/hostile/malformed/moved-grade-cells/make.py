import json


def make(folder, notebook):
    cells = notebook["cells"]
    ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in cells]
    tests = [
        cell
        for cell, name in zip(cells, ids, strict=True)
        if name in ("number", "function", "array", "later")
    ]
    notebook["cells"] = tests + [cell for cell in cells if cell not in tests]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
