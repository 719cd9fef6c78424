import json


def make(folder, notebook):
    (folder / "target.ipynb").write_bytes(b"\xef\xbb\xbf" + json.dumps(notebook).encode())
