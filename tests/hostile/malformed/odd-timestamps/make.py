import json


def make(folder, notebook):
    (folder / "target.ipynb").write_text(json.dumps(notebook))
    (folder / "timestamp.txt").write_text("9999999999-13-45 \x00 99:99 </script>")
