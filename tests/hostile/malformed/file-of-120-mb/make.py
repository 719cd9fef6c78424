import json


def make(folder, notebook):
    cells = notebook["cells"]
    cell = next(cell for cell in cells if cell["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 120_000_000}]
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
