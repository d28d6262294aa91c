"""Korean first, English beside: every message is written in both where it arises."""

from __future__ import annotations

import os

_chosen = {"language": "en" if os.environ.get("KOFID_LANG", "").lower().startswith("en") else "ko"}


def set_language(language: str) -> None:
    """Choose the language of messages from now on: ``ko`` or ``en``."""
    _chosen["language"] = language


def say(korean: str, english: str) -> str:
    """Return the message in the chosen language."""
    return english if _chosen["language"] == "en" else korean
