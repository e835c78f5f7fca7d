"""How a test speaks to each door: the body of a request, and what it reads of an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")


@dataclass(frozen=True)
class Client:
    """A bare client of one dialect: no SDK, so that a test sees every byte."""

    dialect: str

    def path(self, stream: bool = False, model: str = "auto") -> str:
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return {
            "openai_chat": "/v1/chat/completions",
            "openai_responses": "/v1/responses",
            "anthropic_messages": "/v1/messages",
            "gemini": f"/v1beta/models/{model}:{verb}",
        }[self.dialect]

    def body(self, text: str = "hello", *, stream: bool = False, model: str = "auto", **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        body: dict[str, Any] = {
            "openai_chat": {"model": model, "messages": messages, "stream": stream},
            "openai_responses": {"model": model, "input": text, "stream": stream},
            "anthropic_messages": {"model": model, "messages": messages, "max_tokens": 500, "stream": stream},
            "gemini": {"contents": [{"role": "user", "parts": [{"text": text}]}]},
        }[self.dialect]
        if stream and self.dialect == "openai_chat":
            body["stream_options"] = {"include_usage": True}
        return {**body, **more}

    def text(self, body: dict[str, Any]) -> str:
        """The words of a whole answer."""
        match self.dialect:
            case "openai_chat":
                return str(body["choices"][0]["message"]["content"])
            case "openai_responses":
                return str(body["output"][0]["content"][0]["text"])
            case "anthropic_messages":
                return str(body["content"][0]["text"])
            case _:
                return "".join(part["text"] for part in body["candidates"][0]["content"]["parts"])

    def streamed(self, raw: bytes) -> str:
        """The words of a streamed answer."""
        found = []
        for data in events(raw):
            match self.dialect:
                case "openai_chat":
                    found += [choice["delta"].get("content") or "" for choice in data.get("choices", ())]
                case "openai_responses":
                    found += [data["delta"]] if data["type"] == "response.output_text.delta" else []
                case "anthropic_messages":
                    found += [data["delta"].get("text", "")] if data["type"] == "content_block_delta" else []
                case _:
                    found += [part["text"] for part in data["candidates"][0]["content"]["parts"]]
        return "".join(found)

    def usage(self, body: dict[str, Any]) -> dict[str, Any]:
        return dict(body["usageMetadata" if self.dialect == "gemini" else "usage"])

    def error(self, body: dict[str, Any]) -> dict[str, Any]:
        return dict(body["error"])


def events(raw: bytes) -> list[dict[str, Any]]:
    """The data of each event, but for OpenAI's `[DONE]`."""
    lines = [line.removeprefix(b"data: ") for line in raw.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]
