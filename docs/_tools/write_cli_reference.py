"""Write docs/cli.md and docs/en/cli.md from the ``--help`` of every command.

python docs/_tools/write_cli_reference.py          # writes both pages
python docs/_tools/write_cli_reference.py --check  # tells whether they are up to date (exit 1 where not)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {"ko": ROOT / "docs/cli.md", "en": ROOT / "docs/en/cli.md"}
# Help is written in one language as its modules are loaded, so each language has a process of its own.
_COLLECT = """
import contextlib, io, json, sys
from kofid.cli import app
pages = {}
for command in ["", *app.COMMANDS]:
    out = io.StringIO()
    sys.argv = ["kofid", *command.split(), "--help"]
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        app.main()
    pages[command] = out.getvalue()
print(json.dumps(pages))
"""
_INTRODUCTION = {
    "ko": """# 명령 모두

`--help`에서 그대로 만든 쪽입니다(`python docs/_tools/write_cli_reference.py`). 고치려면 명령의 도움말을 고치세요.

모든 선택지에는 환경 변수가 있습니다: `kofid retrieve`의 `-k`는 `KOFID_RETRIEVE_K`, `kofid train-reader`의 `--max-steps`는
`KOFID_TRAIN_READER_MAX_STEPS`. 앞서는 차례는 깃발, 환경 변수, `kofid --config 파일.toml`(`[retrieve]` 표에 `k = 20`), 기본값입니다.
""",
    "en": """# All commands

This page is made from `--help` (`python docs/_tools/write_cli_reference.py`); to change it, change a command's help.

Every option has an environment variable: `-k` of `kofid retrieve` is `KOFID_RETRIEVE_K`, `--max-steps` of `kofid train-reader` is
`KOFID_TRAIN_READER_MAX_STEPS`. A flag goes before the environment, that before `kofid --config FILE.toml` (`k = 20` in its table
`[retrieve]`), that before the default.
""",
}


def help_pages(language: str) -> dict[str, str]:
    """Return what ``kofid COMMAND --help`` prints, by command; that of ``kofid --help`` under an empty name."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("KOFID_")}
    environment = outside | {
        "KOFID_LANG": language,
        "COLUMNS": "100",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": str(ROOT),
    }
    finished = subprocess.run(
        [sys.executable, "-c", _COLLECT], env=environment, capture_output=True, text=True, check=True
    )
    pages: dict[str, str] = json.loads(finished.stdout)
    return pages


def reference(language: str) -> str:
    """Return the page of every command in ``language``."""
    sections = [_INTRODUCTION[language]]
    for command, text in help_pages(language).items():
        heading = f"kofid {command}".strip()
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        sections.append(f"## {heading}\n\n```text\n{lines}\n```\n")
    return "\n".join(sections)


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
        print("outdated:", *outdated, "(python docs/_tools/write_cli_reference.py)")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
