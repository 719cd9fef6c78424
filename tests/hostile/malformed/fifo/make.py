import os


def make(folder, notebook):
    os.mkfifo(folder / "target.ipynb")
    os.mkfifo(folder / "timestamp.pipe")
