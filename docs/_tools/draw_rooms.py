"""Draw the rooms of the house as docs/assets/rooms.svg and rooms.en.svg: floors from the test of the walls, arrows from the imports.

python docs/_tools/draw_rooms.py          # writes both pictures
python docs/_tools/draw_rooms.py --check  # tells whether they are up to date (exit 1 where not)
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path
from textwrap import wrap

from rich.cells import cell_len

ROOT = Path(__file__).parents[2]
OUTPUTS = {"ko": ROOT / "docs/assets/rooms.svg", "en": ROOT / "docs/assets/rooms.en.svg"}
GROUND = ("types", "errors", "language", "devices")
# What is in a room, in a few words.
CONTENTS = {
    "cli": ("명령, 선택지, 대화, 단말기", "commands, options, chat, terminal"),
    "experiments": ("증류 바퀴, 격자, 변형 표, 맞추기", "rounds, grid, ablation, tuning"),
    "evaluation": ("채점, 척도, 검정, 표와 그림", "scores, measures, tests, tables"),
    "pipeline": ("질문 → 패시지 → 답", "question → hits → answers"),
    "operations": ("색인, 재순위, 바꾸기, 확인", "index, rerank, convert, check"),
    "corpora": ("자기 글, 보기 글의 색인", "people's own files, the demo"),
    "training": ("리더, 검색기, 재순위, 증류", "readers, retrievers, rerankers, distillation"),
    "retrieval": ("색인, 낱말·벡터 검색, 섞기, 고쳐 찾기", "index, sparse, dense, fusion, correction"),
    "reader": ("joint, FiD, extractive, span, 확신", "joint, FiD, extractive, span, confidence"),
    "encoder": ("미리 배운 인코더: 조각, 무게, 세션", "pretrained encoder: pieces, weights"),
    "formats": ("들어오고 나가는 파일 형식", "what comes in and goes out"),
    "korean": ("글, 형태소, 조사, 정답 맞추기", "text, morphemes, particles, answers"),
    "storage": ("원자적으로 바뀌는 색인과 모델 폴더", "artifacts, switched atomically"),
    "ground": ("types · errors · language · devices", "types · errors · language · devices"),
}
WIDTH, BOX, GAP, MARGIN = 760, 76, 18, 24
COLUMN = 6.2  # the width of a Latin letter of a room's words; a Hangul syllable takes two
ROOMS_IN_A_ROW = 3
_LIBRARY = "kofid"  # what `import kofid` gives: the public names of all rooms
WALL = {"ko": "서로 부르지 않음", "en": "never meet"}
DOWN = {"ko": "import는 아래로만", "en": "imports go down only"}
USES = {"ko": "쓰는 방", "en": "uses"}


def floors() -> list[list[str]]:
    """Return the rooms from the ground up, as the test of the walls has them; the ground's modules as one room."""
    tree = ast.parse((ROOT / "tests/unit/test_walls.py").read_text(encoding="utf-8"))
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FLOORS"
    ]
    rows = [[room for room in floor if not room.startswith("__")] for floor in ast.literal_eval(value)]
    return [["ground"] if set(row) & set(GROUND) else row for row in rows]


def uses() -> dict[str, set[str]]:
    """Return the rooms that each room imports from, but for the ground."""
    rooms: dict[str, set[str]] = {}
    for path in sorted((ROOT / "kofid").rglob("*.py")):
        room = path.relative_to(ROOT / "kofid").with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = {alias.name for alias in node.names if alias.name == _LIBRARY}
            elif isinstance(node, ast.ImportFrom) and node.module == _LIBRARY:
                targets = {_LIBRARY} if {alias.name for alias in node.names} - {"__version__"} else set()
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kofid."):
                targets = {(node.module or "").removeprefix("kofid.").split(".")[0]}
            else:
                continue
            rooms.setdefault(room, set()).update(targets - {room, *GROUND})
    return rooms


def batched_rooms(storey: list[str]) -> list[list[str]]:
    """Return the rooms of a floor in rows that can be read."""
    return [storey[start : start + ROOMS_IN_A_ROW] for start in range(0, len(storey), ROOMS_IN_A_ROW)]


def picture(language: str) -> str:
    """Return the picture in ``language`` as SVG."""
    storeys = floors()[::-1]
    order = [_LIBRARY, *(room for storey in storeys for room in storey)]
    rows = [list(row) for storey in storeys for row in batched_rooms(storey)]
    imports = uses()
    left, right = MARGIN + 34, WIDTH - MARGIN
    parts = []
    for row_number, row in enumerate(rows):
        y = MARGIN + row_number * (BOX + GAP)
        wall = 40 if {"retrieval", "reader"} <= set(row) else GAP
        width = (right - left - wall * (len(row) - 1)) / len(row)
        for place, room in enumerate(row):
            x = left + place * (width + wall)
            words = CONTENTS[room][0 if language == "ko" else 1]
            if cell_len(words) * COLUMN > width - 24:
                raise ValueError(f"{room}: too long for its box: {words}")
            below = [target for target in order if target in imports.get(room, ())]
            parts.append(f'<rect class="room" x="{x:.0f}" y="{y}" width="{width:.0f}" height="{BOX}" rx="6"/>')
            parts.append(f'<text class="name" x="{x + 12:.0f}" y="{y + 22}">{room}</text>')
            parts.append(f'<text class="words" x="{x + 12:.0f}" y="{y + 40}">{escape(words)}</text>')
            lines = wrap(f"{USES[language]}: {', '.join(below)}", int(width / 6)) if below else []
            for number, line in enumerate(lines):
                parts.append(f'<text class="uses" x="{x + 12:.0f}" y="{y + 56 + 13 * number}">{escape(line)}</text>')
        if wall == 40:
            middle = left + width + wall / 2
            parts.append(f'<line class="wall" x1="{middle:.0f}" y1="{y - 6}" x2="{middle:.0f}" y2="{y + BOX + 6}"/>')
            parts.append(
                f'<text class="wall-words" x="{middle:.0f}" y="{y + BOX + 15}" text-anchor="middle">{WALL[language]}</text>'
            )
    height = 2 * MARGIN + len(rows) * (BOX + GAP) - GAP
    x = MARGIN + 8
    parts.append(f'<line class="down" x1="{x}" y1="{MARGIN}" x2="{x}" y2="{height - MARGIN - 8}"/>')
    parts.append(f'<path class="head" d="M{x - 6},{height - MARGIN - 10} h12 l-6,10 z"/>')
    parts.append(
        f'<text class="uses" transform="translate({x - 8},{height / 2:.0f}) rotate(-90)" text-anchor="middle">{DOWN[language]}</text>'
    )
    style = (
        "text{font-family:'Noto Sans KR','Malgun Gothic','Apple SD Gothic Neo',sans-serif;fill:#222}"
        ".back{fill:#fff}.room{fill:#f4f6fa;stroke:#8a97ad}.name{font-weight:700;font-size:15px}.words{font-size:12.5px}"
        ".uses{font-size:10.5px;fill:#667}.wall{stroke:#b33;stroke-width:3}.wall-words{font-size:10.5px;fill:#b33}"
        ".down{stroke:#8a97ad;stroke-width:2}.head{fill:#8a97ad}"
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="kofid">\n'
        f'<style>{style}</style>\n<rect class="back" width="{WIDTH}" height="{height}"/>\n{body}\n</svg>\n'
    )


def main() -> int:
    """Write the pictures, or compare them with what they would be."""
    outdated = []
    for language, path in OUTPUTS.items():
        drawn = picture(language)
        if "--check" in sys.argv:
            if not path.is_file() or path.read_text(encoding="utf-8") != drawn:
                outdated.append(str(path.relative_to(ROOT)))
        else:
            path.write_text(drawn, encoding="utf-8")
    if outdated:
        print("outdated:", *outdated, "(python docs/_tools/draw_rooms.py)")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
