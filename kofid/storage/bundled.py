"""What ships with kofid: the demo corpus, the bundled models, the recipes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from kofid.errors import InputError
from kofid.language import say


def _roots() -> tuple[Path, Path]:
    return Path(str(files("kofid"))) / "resources", Path(__file__).parents[2] / "resources"


def is_bundled(name: str) -> bool:
    """Tell whether a file or folder ships with this installation."""
    return any((root / name).exists() for root in _roots())


def resource(name: str) -> Path:
    """Return the path of a shipped file or folder: inside the installed package, or beside it in a checkout."""
    for root in _roots():
        if (root / name).exists():
            return root / name
    raise InputError(
        say(f"함께 오는 자료 '{name}'이(가) 없습니다. 다시 설치하세요.", f"no bundled '{name}'; install again")
    )
