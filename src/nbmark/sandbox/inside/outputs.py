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
        self._clears_at_next = False
        self._shown = []  # display id and output of those that have an id

    def add(self, kind, content):
        """Append an output or change those that are there; other kinds are ignored."""
        # The frame may come from the student's code, so its parts may be of any type.
        if not isinstance(kind, str) or not isinstance(content, dict):
            return
        if kind == "clear_output":
            self._clears_at_next = bool(content.get("wait"))
            if not self._clears_at_next:
                self._clear()
        elif kind in FIELDS or kind == "update_display_data":
            # Cleared outputs stay counted, because sending them took as much work.
            self._bytes_left -= len(json.dumps(content))
            if self._bytes_left < 0:
                self.truncated = True
            else:
                self._show(kind, content)

    def _show(self, kind, content):
        display_id = _display_id(content)
        if display_id:
            for shown_id, output in self._shown:
                if shown_id == display_id:
                    output["data"] = content.get("data")
        if kind == "update_display_data":
            return
        if self._clears_at_next:
            self._clear()
        if kind == "stream" and self._continues(content):
            self.items[-1]["text"] += content["text"]
            return
        fields = {name: content.get(name) for name in FIELDS[kind]}
        self.items.append({"output_type": kind, **fields})
        if display_id and "data" in fields:
            self._shown.append((display_id, self.items[-1]))

    def _clear(self):
        self.items.clear()
        self._shown.clear()
        self._clears_at_next = False

    def _continues(self, content):
        """Return whether this text follows text of the same stream."""
        last = self.items[-1] if self.items else {}
        texts = (last.get("text"), content.get("text"))
        return last.get("name") == content.get("name") and all(isinstance(t, str) for t in texts)


def _display_id(content):
    transient = content.get("transient")
    display_id = transient.get("display_id") if isinstance(transient, dict) else None
    return display_id if isinstance(display_id, str) else None
