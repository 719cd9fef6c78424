import json


def make(folder, notebook):
    cells = notebook["cells"]
    ids = [one["metadata"].get("nbgrader", {}).get("grade_id") for one in cells]
    tests = [
        one
        for one, name in zip(cells, ids, strict=True)
        if name in ("number", "function", "array", "later")
    ]
    notebook["cells"] = tests + [one for one in cells if one not in tests]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
