import json


def make(folder, notebook):
    html = "<script>owned()</script><h1>5 of 5 points</h1>"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            data = {
                "text/html": html,
                "application/javascript": "owned()",
                "image/svg+xml": "<svg onload='owned()'/>",
            }
            output = {"output_type": "display_data", "data": data, "metadata": {"isolated": True}}
            cell["outputs"] = [
                output,
                {
                    "output_type": "execute_result",
                    "execution_count": 1,
                    "data": data,
                    "metadata": {},
                },
            ]
    (folder / "target.ipynb").write_text(json.dumps(notebook))
