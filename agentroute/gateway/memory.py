"""What the Responses door handed out, for clients that name it later instead of sending it again.

The Vercel AI SDK names items (`item_reference`), others a whole answer (`previous_response_id`). Nothing is kept of a
request with `store: false`. Bounded in bytes; what was kept longest unused goes first.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .refusals import Refused

__all__ = ["Memory"]

_Name: TypeAlias = tuple[str | None, str]
"""The client key's name and the id: nobody is shown what another client was told."""

_REMEDY: Final = "send the conversation as `input` (`store: false` makes most clients do so)"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one answer added to a conversation: the items that were sent for it, and its own."""

    previous: str | None
    items: tuple[Any, ...]


class Memory:
    """Items and answers by id, at most `max_bytes` of JSON."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[_Name, tuple[int, Any]] = OrderedDict()

    def resolve(self, body: dict[str, Any], owner: str | None) -> dict[str, Any]:
        """The body with each item that it names put in. Raises Refused for what is not held (any more)."""
        items = body.get("input")
        if not isinstance(items, list) or not any(_names(item) for item in items):
            return body
        return {**body, "input": [self._item(item.get("id"), owner) if _names(item) else item for item in items]}

    def continued(self, body: dict[str, Any], owner: str | None) -> dict[str, Any]:
        """The body with the conversation before it, where it names an answer. Raises Refused as `resolve` does."""
        previous = body.get("previous_response_id")
        if previous is None:
            return body
        whole = {**body, "input": [*self._before(previous, owner), *_items(body)]}
        del whole["previous_response_id"]
        return whole

    def keep(self, sent: Mapping[str, Any], answer: Mapping[str, Any], owner: str | None) -> None:
        """Remembers an answer, and the items of `sent` (a resolved body, not continued) that led to it."""
        if sent.get("store") is False or not isinstance(answer.get("id"), str):
            return
        output = answer.get("output") or ()
        for item in output:
            if isinstance(item.get("id"), str):
                self._put((owner, item["id"]), item)
        held = _Answer(sent.get("previous_response_id"), (*_items(sent), *output))
        self._put((owner, answer["id"]), held, held.items)

    def _put(self, name: _Name, value: Any, measured: Any = None) -> None:
        size = len(json.dumps(value if measured is None else measured, default=dict))
        old = self._held.pop(name, None)
        self._bytes += size - (0 if old is None else old[0])
        self._held[name] = size, value
        while self._bytes > self._max_bytes and self._held:
            _, (freed, _) = self._held.popitem(last=False)
            self._bytes -= freed

    def _get(self, name: _Name) -> Any:
        found = self._held.get(name)
        if found is None:
            return None
        self._held.move_to_end(name)
        return found[1]

    def _item(self, name: Any, owner: str | None) -> Any:
        found = self._get((owner, name)) if isinstance(name, str) else None
        if found is None or isinstance(found, _Answer):
            raise Refused(404, "item_not_found", f"the item {_shown(name)} is not kept here (any more); {_REMEDY}")
        return found

    def _before(self, name: Any, owner: str | None) -> list[Any]:
        """The conversation up to and with an answer."""
        answers: list[tuple[Any, ...]] = []
        while name is not None:
            found = self._get((owner, name)) if isinstance(name, str) else None
            if not isinstance(found, _Answer):
                message = f"the answer {_shown(name)} is not kept here (any more); {_REMEDY}"
                raise Refused(404, "previous_response_not_found", message)
            answers.append(found.items)
            name = found.previous
        return [item for items in reversed(answers) for item in items]


def _items(body: Mapping[str, Any]) -> list[Any]:
    given = body.get("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given or ())


def _names(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type") == "item_reference"


def _shown(name: Any) -> str:
    return repr(name)[:80]
