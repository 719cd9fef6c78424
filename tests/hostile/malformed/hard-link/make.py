import json
import os


def make(folder, notebook):
    other = folder.parent / "secret"
    other.write_text(json.dumps(notebook))
    os.link(other, folder / "target.ipynb")
