"""The soak's provider, a process of its own so that its memory is not counted: a fault for a good part of its answers.

    python soak_server.py

Prints its port. The prompt of a request is an id; each piece of the answer is `<id>@<model>;`.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FAULTS = "refuse limit page reset silent cut cut-clean cut-reset stall comments error".split()
HEALTHY_SHARE = 0.5
PIECES = 40


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    body = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return chunk(b"data: " + json.dumps({**body, "choices": [choice]}).encode() + b"\n\n")


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def answer(writer: asyncio.StreamWriter, fault: str, piece: str) -> bool:
    """Plays it; whether the connection may be used again."""
    if fault in ("refuse", "limit"):
        status = 503 if fault == "refuse" else 429
        writer.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}" % status)
        return True
    if fault == "page":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>")
        return True
    if fault == "reset":
        reset(writer)
        return False
    if fault == "silent":
        await asyncio.sleep(2)
        return False
    writer.write(HEAD + event({"role": "assistant", "content": ""}))
    before = random.randrange(PIECES) if fault else PIECES
    for _ in range(before):
        writer.write(event({"content": piece}))
        await writer.drain()
        await asyncio.sleep(random.random() * 0.01)
    match fault:
        case "cut-clean":
            writer.write(b"0\r\n\r\n")
            return True
        case "cut":
            return False
        case "cut-reset":
            reset(writer)
            return False
        case "stall":
            await asyncio.sleep(2)
            return False
        case "comments":
            for _ in range(20):
                writer.write(chunk(b": still here\n\n"))
                await writer.drain()
                await asyncio.sleep(0.1)
            return False
        case "error":
            writer.write(chunk(b'data: {"error":{"message":"overloaded","code":529}}\n\n') + b"0\r\n\r\n")
            return True
    writer.write(event({}, "stop") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    return True


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = json.loads(await reader.readexactly(length))
            sick = body["model"] != "well-1" and random.random() > HEALTHY_SHARE
            piece = f"{body['messages'][0]['content']}@{body['model']};"
            if not await answer(writer, random.choice(FAULTS) if sick else "", piece):
                return
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
