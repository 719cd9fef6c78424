import json


def make(folder, notebook):
    cells = [7, None, [], {}, {"cell_type": [], "source": {}, "metadata": 3}]
    cells += [
        {
            "cell_type": "code",
            "source": [1, None, ["a"]],
            "metadata": {"nbgrader": {"grade_id": ["number"]}},
        }
    ]
    cells += [
        {
            "cell_type": "code",
            "source": 3,
            "metadata": {"nbgrader": {"grade_id": "number", "points": "x", "schema_version": {}}},
        }
    ]
    notebook.update(cells=cells, metadata=[], nbformat="four", nbformat_minor=None)
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
