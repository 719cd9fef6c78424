import json


def make(folder, notebook):
    cells = notebook["cells"]
    for cell in cells:
        cell["metadata"].get("nbgrader", {}).update(
            points=1000, locked=False, solution=True, schema_version=99
        )
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
