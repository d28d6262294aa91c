"""Write docs/api.md and docs/en/api.md from the public names of ``import kofid``: signatures and docstrings.

python docs/_tools/write_api_reference.py          # writes both pages
python docs/_tools/write_api_reference.py --check  # tells whether they are up to date (exit 1 where not)
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINE = 100
PAGES = {"ko": ROOT / "docs/api.md", "en": ROOT / "docs/en/api.md"}
_INTRODUCTION = {
    "ko": """# 파이썬 이름 모두

`import kofid`가 주는 이름 모두입니다. 코드의 서명과 설명(영어)에서 그대로 만든 쪽입니다(`python docs/_tools/write_api_reference.py`). 쓰는 법은
[파이썬](python.md)에 있습니다.
""",
    "en": """# All Python names

Every name that `import kofid` gives. This page is made from signatures and docstrings in the code (`python docs/_tools/write_api_reference.py`). How
they are used is told in [Python](python.md).
""",
}
_SECTIONS = {
    "functions": ("함수", "Functions"),
    "data": ("자료와 설정", "Data and settings"),
    "choices": ("고르는 것", "Choices"),
    "protocols": ("약속과 타입", "Protocols and types"),
    "errors": ("오류", "Errors"),
}


def section_of(value: Any) -> str:
    """Return the section that a public object belongs to."""
    if inspect.isfunction(value):
        return "functions"
    if isinstance(value, type) and issubclass(value, BaseException):
        return "errors"
    if isinstance(value, type) and issubclass(value, enum.Enum):
        return "choices"
    if isinstance(value, type) and not getattr(value, "_is_protocol", False):
        return "data"
    return "protocols"


def signature(name: str, value: Any) -> str:
    """Return how an object is called or what it has, as Python code."""
    if isinstance(value, type) and issubclass(value, enum.Enum):
        return f"class {name}: " + ", ".join(f"{member.name} = {str(member.value)!r}" for member in value)
    if isinstance(value, type) and issubclass(value, BaseException):
        return f"class {name}({value.__bases__[0].__name__})"
    if not callable(value) or isinstance(value, type) and getattr(value, "_is_protocol", False):
        return name
    try:
        declared = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return name
    parameters = [_written(parameter) for parameter in declared if parameter.name not in ("self", "cls")]
    if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in declared):
        named = next(i for i, parameter in enumerate(declared) if parameter.kind is parameter.KEYWORD_ONLY)
        parameters.insert(named, "*")
    returns = "" if isinstance(value, type) else getattr(value, "__annotations__", {}).get("return", "")
    start = f"class {name}(" if isinstance(value, type) else f"{name}("
    end = f") -> {returns}" if returns else ")"
    line = start + ", ".join(parameters) + end
    return line if len(line) <= LINE else start + "\n    " + ",\n    ".join(parameters) + ",\n" + end


def _written(parameter: inspect.Parameter) -> str:
    """Return a parameter as it is written in code, whatever its default is."""
    star = (
        "**" if parameter.kind is parameter.VAR_KEYWORD else "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    )
    annotation = getattr(parameter.annotation, "__name__", str(parameter.annotation))
    written: str = star + parameter.name + ("" if parameter.annotation is parameter.empty else f": {annotation}")
    if parameter.default is parameter.empty:
        return written
    default = parameter.default
    if isinstance(default, enum.Enum):
        shown = f"{type(default).__name__}.{default.name}"
    elif callable(default):
        shown = getattr(default, "__name__", "...").replace("<lambda>", "...")
    elif dataclasses.is_dataclass(default):
        shown = f"{type(default).__name__}()"
    else:
        shown = "..." if " at 0x" in repr(default) or "<factory>" in repr(default) else repr(default)
    return f"{written} = {shown}"


def explained(value: Any) -> str:
    """Return a docstring as Markdown, its examples as code."""
    text = inspect.getdoc(value) or ""
    if dataclasses.is_dataclass(value) and text.startswith(f"{getattr(value, '__name__', '')}("):
        text = ""  # what dataclasses write where nobody did
    text = text.replace("``", "`")
    return re.sub(r"(?:^ *>>> .*(?:\n.+)*)+", lambda match: f"```python\n{match[0]}\n```", text, flags=re.MULTILINE)


def methods(name: str, value: Any) -> list[str]:
    """Return the public methods of a class that has work to do, as items of a list."""
    if not isinstance(value, type) or section_of(value) != "data":
        return []
    items = []
    for method_name, member in vars(value).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if method_name.startswith("_") or not inspect.isfunction(function):
            continue
        shown = method_name if isinstance(member, property) else signature(method_name, function)
        shown = re.sub(r"\s+", " ", shown).replace("( ", "(").replace(", )", ")")
        first = (inspect.getdoc(function) or "").partition("\n")[0].replace("``", "`")
        items.append(f"- `{shown}`: {first}")
    return items


def reference(language: str) -> str:
    """Return the page in ``language``."""
    import kofid

    names: dict[str, list[str]] = {section: [] for section in _SECTIONS}
    for name in sorted(kofid.__all__, key=str.casefold):
        if not name.startswith("_"):
            names[section_of(getattr(kofid, name))].append(name)
    parts = [_INTRODUCTION[language]]
    for section, titles in _SECTIONS.items():
        parts.append(f"## {titles[0 if language == 'ko' else 1]}\n")
        for name in names[section]:
            value = getattr(kofid, name)
            parts.append(f"### {name}\n\n```python\n{signature(name, value)}\n```\n")
            if section != "protocols" or isinstance(value, type):
                parts += [f"{explained(value)}\n"] if explained(value) else []
            listed = methods(name, value)
            parts += ["\n".join(listed) + "\n"] if listed else []
    return "\n".join(parts)


def main() -> int:
    """Write the pages, or compare them with what they would be."""
    outdated = []
    for language, path in PAGES.items():
        page = reference(language)
        if "--check" in sys.argv:
            if not path.is_file() or path.read_text(encoding="utf-8") != page:
                outdated.append(str(path.relative_to(ROOT)))
        else:
            path.write_text(page, encoding="utf-8")
    if outdated:
        print("outdated:", *outdated, "(python docs/_tools/write_api_reference.py)")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
