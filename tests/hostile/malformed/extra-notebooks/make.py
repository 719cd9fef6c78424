import json


def make(folder, notebook):
    text = json.dumps(notebook)
    for name in (
        "target.ipynb",
        "other.ipynb",
        "..ipynb",
        "target .ipynb",
        "t\u0430rget.ipynb",
        "-rf.ipynb",
        "a\nb.ipynb",
        "'\";$(x).ipynb",
    ):
        (folder / name).write_text(text)
    (folder / "sub").mkdir()
    (folder / "sub" / "target.ipynb").write_text("{}")
