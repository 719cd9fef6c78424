import json


def make(folder, notebook):
    (folder / "target.ipynb").write_bytes(
        json.dumps(notebook, ensure_ascii=False)
        .replace("mean", "m\xe9an")
        .encode("latin-1", "replace")
    )
