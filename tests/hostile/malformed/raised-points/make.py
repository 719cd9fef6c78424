import json


def make(folder, notebook):
    cells = notebook["cells"]
    for one in cells:
        one["metadata"].get("nbgrader", {}).update(
            points=1000, locked=False, solution=True, schema_version=99
        )
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
