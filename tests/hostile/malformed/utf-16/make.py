import json


def make(folder, notebook):
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode("utf-16"))
