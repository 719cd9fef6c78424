import json


def make(folder, notebook):
    cells = notebook["cells"]
    one = next(one for one in cells if one["cell_type"] == "code")
    one["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 45_000_000}]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
