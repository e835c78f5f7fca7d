"""Without LangChain nothing here can be imported; `test_present.py` says so, or fails where it is required."""

from __future__ import annotations

import importlib.util

if any(importlib.util.find_spec(name) is None for name in ("langchain", "langchain_openai", "langchain_anthropic")):
    collect_ignore_glob = ["test_[!p]*.py", "test_pool.py"]
