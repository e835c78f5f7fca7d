"""Performs what the failover flow asks for over HTTP, plain and asynchronous.

httpcore2, which httpx2 stands on, is imported when the first performer is made, so that routing without calling stays
light. A key goes to the host of the target's `base_url`, over verified TLS, and nowhere else: redirects are not
followed, proxies and netrc are not read from the environment (`SSL_CERT_FILE` is), and what httpcore2 raises is never
passed on, since its frames hold the key.
"""

from __future__ import annotations

from .performers import AsyncHttpPerformer, HttpPerformer

__all__ = ["AsyncHttpPerformer", "HttpPerformer"]
