"""Says whether a call works on source code: by the files its arguments name, or the hits of a search in files.

Only what the agent did counts. A file name in a page that was fetched, in a document that was read or in a URL says
nothing about the work.
"""

from __future__ import annotations

import re

from .actions import Did

__all__ = ["lists_source", "source_weight"]

_SUFFIXES = (
    "py|pyi|pyx|ipynb|js|jsx|mjs|cjs|ts|tsx|mts|vue|svelte|astro|go|rs|java|kt|kts|scala|groovy|clj|cljs|cc|cpp|cxx|hpp"
    "|hxx|cu|cs|fs|fsx|vb|rb|erb|php|pl|pm|lua|swift|mm|dart|zig|nim|pony|odin|hs|lhs|ml|mli|elm|purs|erl|hrl|ex|exs|jl"
    "|lisp|el|scm|rkt|f90|f95|f03|pas|ada|adb|asm|sol|vy|move|cairo|sql|proto|thrift|graphql|tf|hcl|nix|bzl|cmake|gradle"
    "|sh|bash|zsh|fish|ps1|bat|css|scss|sass|less|html|htm|xsl|v|sv|vhd|vhdl|tcl|awk|cob|cbl|abap|apex|cls|gd|hx|cr"
)
_FILE = re.compile(
    rf"\w\.(?:{_SUFFIXES})(?![\w.]*\w)|\w\w\.[chmrd](?![\w.]*\w)|\b(?:Makefile|Dockerfile|CMakeLists\.txt)\b"
)
_URL = re.compile(r"\w{2,12}://[^\s\"'<>]{0,2000}")
_HIT = re.compile(rf"(?:\./|/|[\w@-]+:\\)?(?:[\w@.+ -]+[/\\])*[\w@.+-]*\w\.(?:{_SUFFIXES}|[chmrd])(?=$|[:\s(])")
"""A line of a search that begins with a source file."""

_READ = 400
_HITS = 6
"""Characters of arguments and of a result, and lines of it, that are read."""

_LOCAL = ("grep", "glob", "find", "file", "dir", "list", "ls", "tree", "code", "rg", "symbol")
"""Words in the name of a tool that searches files and not the web."""


def source_weight(name: str, arguments: str, did: Did) -> float:
    """How much a call is work on source code: 1 if it reads, searches, edits or tests a file of it, half if it writes
    or runs one (a script made along the way is a tool, not the work), 0 if its arguments name none."""
    text = arguments[:_READ]
    if did.command is None and ('"url"' in text or '"query"' in text or "web" in name.lower()):
        return 0.0
    if "://" in text:
        text = _URL.sub("", text)
    if ("." not in text and "Makefile" not in text and "Dockerfile" not in text) or _FILE.search(text) is None:
        return 0.0
    return 0.5 if did.action == "write" or did.action == "run" else 1.0


def lists_source(name: str, result: str, did: Did) -> bool:
    """Whether what a search in files found lies in source code, for the most part."""
    if did.action != "search" or (did.command is None and not any(word in name.lower() for word in _LOCAL)):
        return False
    lines = [line for line in result[:_READ].splitlines() if line and line[0] not in "<[(" and not line.isspace()]
    hits = sum(_HIT.match(line) is not None for line in lines[:_HITS])
    return hits * 2 >= min(len(lines), _HITS) and hits > 0
