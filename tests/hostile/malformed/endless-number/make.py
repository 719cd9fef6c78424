def make(folder, notebook):
    (folder / "target.ipynb").write_bytes(b'{"cells": [], "nbformat": ' + b"9" * 10_000_000 + b"}")
