def make(folder, notebook):
    (folder / "target.ipynb" / "x").mkdir(parents=True)
