"""Files for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WriteLines = Callable[[str, Iterable[Any]], Path]
