def make(folder, notebook):
    (folder / "target.ipynb").write_bytes(
        b'{"cells": [], "metadata": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    )
