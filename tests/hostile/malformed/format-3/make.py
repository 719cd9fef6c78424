import json


def make(folder, notebook):
    old = {"nbformat": 3, "worksheets": [{"cells": notebook["cells"]}], "metadata": {}}
    (folder / "target.ipynb").write_bytes(json.dumps(old).encode())
