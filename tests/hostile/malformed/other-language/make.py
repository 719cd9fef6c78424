import json


def make(folder, notebook):
    notebook["metadata"] = {
        "kernelspec": {
            "name": "bash",
            "language": "bash",
            "display_name": "x",
            "argv": ["touch", "/tmp/owned"],
        }
    }
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode())
