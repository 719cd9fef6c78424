def make(folder, notebook):
    (folder / "target.ipynb").write_bytes(b"42")
