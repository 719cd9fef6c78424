"""Outputs of one cell in nbformat's form, up to a size limit."""

import json

# Only these fields are copied, so that a kernel cannot add further ones.
FIELDS = {
    "stream": ("name", "text"),
    "error": ("ename", "evalue", "traceback"),
    "display_data": ("data",),
    "execute_result": ("data", "execution_count"),
}


class Outputs:
    """A list of a kernel's outputs, in `items`; `truncated` is True if some are missing."""

    def __init__(self, max_bytes):
        self.items, self.truncated = [], False
        self._bytes_left = max_bytes

    def add(self, kind, content):
        """Append an output, or handle ``clear_output``; other kinds are ignored."""
        # The frame may come from the student's code, so its parts may be of any type.
        if not isinstance(kind, str) or not isinstance(content, dict):
            return
        if kind == "clear_output":
            self.items.clear()
        if kind not in FIELDS:
            return
        # Cleared outputs stay counted, because sending them took as much work.
        self._bytes_left -= len(json.dumps(content))
        if self._bytes_left < 0:
            self.truncated = True
        elif kind == "stream" and self._continues(content):
            self.items[-1]["text"] += content["text"]
        else:
            fields = {name: content.get(name) for name in FIELDS[kind]}
            self.items.append({"output_type": kind, **fields})

    def _continues(self, content):
        """Return whether this text follows text of the same stream."""
        last = self.items[-1] if self.items else {}
        texts = (last.get("text"), content.get("text"))
        return last.get("name") == content.get("name") and all(isinstance(t, str) for t in texts)
