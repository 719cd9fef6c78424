"""The outputs of one cell in nbformat's form, up to a size."""

import json

FIELDS = {
    "stream": ("name", "text"),
    "error": ("ename", "evalue", "traceback"),
    "display_data": ("data",),
    "execute_result": ("data", "execution_count"),
}


class Outputs:
    """Collects what a kernel shows; `truncated` says whether something was left out."""

    def __init__(self, max_bytes):
        self.items, self.truncated = [], False
        self._bytes_left = max_bytes

    def add(self, kind, content):
        if not isinstance(kind, str) or not isinstance(content, dict):
            return
        if kind == "clear_output":
            self.items.clear()
        if kind not in FIELDS:
            return
        self._bytes_left -= len(json.dumps(content))
        if self._bytes_left < 0:
            self.truncated = True
        elif kind == "stream" and self._continues(content):
            self.items[-1]["text"] += content["text"]
        else:
            self.items.append(
                {"output_type": kind, **{name: content.get(name) for name in FIELDS[kind]}}
            )

    def _continues(self, content):
        """Whether this text follows text of the same stream."""
        last = self.items[-1] if self.items else {}
        texts = (last.get("text"), content.get("text"))
        return last.get("name") == content.get("name") and all(isinstance(t, str) for t in texts)
