import json


def make(folder, notebook):
    (folder / "target.ipynb").write_text(json.dumps(notebook))
    for number in range(3000):
        (folder / f"{number}.txt").write_text("x")
