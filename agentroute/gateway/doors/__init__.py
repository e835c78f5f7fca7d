"""One front door per dialect: what its clients send beside the body, and the words they understand."""

from __future__ import annotations

from .base import Asked, Door

__all__ = ["Asked", "Door"]
