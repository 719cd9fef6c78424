import base64
import json


def make(folder, notebook):
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='owned()'/>").decode()
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "words":
            cell["source"] = (
                '![x](attachment:x.svg) ![y](attachment:y.png) ![z](attachment:z"onerror="owned().png)'
            )
            cell["attachments"] = {
                "x.svg": {"image/svg+xml": svg},
                "y.png": {"image/png": 'x" onerror="owned()'},
                'z"onerror="owned().png': {
                    "image/png": svg,
                    "text/html": "<script>owned()</script>",
                },
            }
    (folder / "target.ipynb").write_text(json.dumps(notebook))
