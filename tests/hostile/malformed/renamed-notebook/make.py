import json


def make(folder, notebook):
    (folder / "my solution (1).ipynb").write_text(json.dumps(notebook))
