"""Korean first, English beside: every message is written in both where it arises.

A message speaks of settings by ``setting``; the command line, which calls them options, says how they are written there.
"""

from __future__ import annotations

import os
from collections.abc import Callable

SettingStyle = Callable[[str, object], str]


def _as_argument(name: str, value: object) -> str:
    return name if value is None else f"{name}={value}"


_language = "en" if os.environ.get("KOFID_LANG", "").lower().startswith("en") else "ko"
_style: SettingStyle = _as_argument


def set_language(language: str) -> None:
    """Choose the language of messages from now on: ``ko`` or ``en``."""
    global _language  # noqa: PLW0603
    _language = language


def language() -> str:
    """Return the language of messages: ``ko`` or ``en``."""
    return _language


def say(korean: str, english: str) -> str:
    """Return the message in the chosen language.

    >>> set_language("en"); say("색인", "index")
    'index'
    >>> set_language("ko"); say("색인", "index")
    '색인'
    """
    return english if _language == "en" else korean


def write_settings_as(style: SettingStyle | None) -> None:
    """Choose how messages write settings from now on: by a function of name and value, or None for ``name=value``."""
    global _style  # noqa: PLW0603
    _style = style or _as_argument


def setting(name: str, value: object = None) -> str:
    """Return how a message writes a setting, and its value where there is one.

    >>> setting("device", "cpu"), setting("resume")
    ('device=cpu', 'resume')
    """
    return _style(name, value)
