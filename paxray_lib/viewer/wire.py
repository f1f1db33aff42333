"""What passes between a viewer's kernel and its page: images; strokes and decisions back."""

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from paxray_lib.viewer.corrections import Corrections, WrongStroke
from paxray_lib.viewer.reviewing import Reviewing
from paxray_lib.viewer.traits import ViewerTraits


class Wire(ViewerTraits):
    """A viewer's answers to its page."""

    _corrections: Corrections | None
    _reviewing: Reviewing | None
    _touched = False  # whether strokes came since the viewer was made
    save: Callable[..., Path]

    def get_state(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return the values of traits; all of them when a page is loaded (again)."""
        state = super().get_state(*args, **options)
        if self._touched and len(state) > 1 and "_first" in state:
            # as it is now, with the strokes since it was shown
            state["_first"] = self._renewed(self.position)
        if self._reviewing and "_review" in state:
            state["_review"] = self._reviewing.state()
        return state

    def _renewed(self, index: int) -> dict[str, Any]:
        """Return the message of an image as it is on disk."""
        if self._corrections:
            self._corrections.forget(index)
        return self._message(index)

    def _message(self, index: int, heat_of: Collection[str] | None = None) -> dict[str, Any]:
        """Return what the browser gets of an image: the image, or why it cannot be shown."""
        try:
            if self._corrections:
                made, scene = self._corrections, self._corrections.base(index)
                own = {"strokes": made.records(index), "film": made.film(index)}
            else:
                own, scene = {}, self._load(index)
            return {"index": index, **own, **scene.to_message(heat_of, self._broken(index))}
        except (ValueError, OSError) as error:
            return {"index": index, "name": self._source.names[index], "error": str(error)}

    def _broken(self, index: int) -> list[list]:
        """Return the broken rules to list: of what is corrected, of both models, or as usual."""
        if self._source.blind:
            return []
        roles = ("target", "prediction") if self._source.models else ()
        return self._load(index).broken_rules(*(("target",) if self._corrections else roles))

    def _answer(self, _: Any, content: dict, __: Any) -> None:
        """Take over strokes; send the images asked for: the one opened, and its neighbours."""
        if strokes := content.get("strokes"):
            self._take(strokes)
        for index in content.get("need", []):
            if isinstance(index, int) and 0 <= index < len(self._source.names):
                self._send_scene(index)
        if self._reviewing and "decide" in content:
            position, verdict, note = content["decide"]
            self._check_position(position)
            self.send({"decided": self._reviewing.decide(position, verdict, note)})
        if "rules" in content:
            self._check_position(content["rules"])
            with suppress(ValueError, OSError):  # said where the image is shown
                self.send({"broken": [content["rules"], self._broken(content["rules"])]})
        if "save" in content:
            try:
                self.save(content["save"])
            except (ValueError, OSError) as error:
                self.send({"trouble": f"Not saved: {error}"})

    def _send_scene(self, index: int) -> None:
        message = self._renewed(index)
        parts = [key for key, value in message.items() if isinstance(value, bytes)]
        buffers = [message.pop(key) for key in parts]
        self.send({"scene": message, "parts": parts}, buffers)

    def _take(self, strokes: list) -> None:
        """Keep the strokes that the browser made, and tell it which are kept."""
        for position, record in strokes:
            answer: dict[str, Any] = {"id": record.get("id")}
            was_saved, self._touched = False, True
            try:
                if self._corrections is None:
                    raise ValueError("this viewer is not editable")
                self._check_position(position)
                was_saved = not self._corrections.add(position, record)
                self._corrected.add(position)
                if not was_saved:  # for other pages of this viewer
                    answer |= {"index": position, "stroke": record}
            except (ValueError, OSError) as error:
                answer |= {"error": str(error), "final": isinstance(error, WrongStroke)}
            self.send({"kept": answer})
            if was_saved:
                self._send_scene(position)
