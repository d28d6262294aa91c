"""What a terminal may do to the command line, and the command line to a terminal: streams, encodings, control characters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import SMALL, kofid, write_jsonl

from kofid.cli.app import COMMANDS
from kofid.cli.console import visible, visible_line

UNSAFE = {
    "id": "x",
    "title": "[bold]색[/home]\x1b[31m",
    "text": "a[i] 는 배열의 원소다.\x9b31m \u2066뒤집힌 글\u2069 [conceal]숨은 글[/conceal] [link=http://x]줄[/link]",
}


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    corpus = write_jsonl(folder / "c.jsonl", [*SMALL, UNSAFE])
    assert kofid("index", corpus, "-o", folder / "kb").code == 0
    return folder / "kb"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell line in which ``kofid`` is the program."""
    line = f'kofid() {{ "{sys.executable}" -m kofid "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", line], capture_output=True, env=os.environ | environment, check=False)


# --- control characters and markup ---------------------------------------------------------------------------


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert visible("가\t나\n다") == "가\t나\n다"  # harmless
    unsafe = "".join(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0x2069, 0x200F, 0xDC80]))
    shown = visible(unsafe)
    assert shown.isascii() and shown.isprintable() and visible(shown) == shown
    assert visible("\x1b\u202e\udcff\ud800") == "\\x1b\\u202e\\xff\\ud800"
    assert visible_line("제목\n오류: 없음") == "제목\\n오류: 없음"
    assert visible("👩‍👩‍👧 한글 漢字 ᄒᆞᆫ글") == "👩‍👩‍👧 한글 漢字 ᄒᆞᆫ글"


def test_tables_show_documents_as_they_are_written(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    shown = kofid("retrieve", "-i", kb, "배열의 [/home] 원소 [i]", terminal=True).out
    for written in ("[bold]색[/home]", "a[i]", "[conceal]", "[/conceal]", "[link=http://x]", "[/home] 원소 [i]"):
        assert written in shown, written
    assert not {"\x1b", "\x9b", "\u2066", "\u2069"} & set(shown)
    whole = kofid("ask", "-i", kb, "배열의 원소는 [/b]?", "--context-only", terminal=True).out
    assert "[conceal]숨은" in whole and "글[/conceal]" in whole
    assert not {"\x1b", "\x9b", "\u2066", "\u2069"} & set(whole)


def test_json_escapes_what_a_terminal_obeys_and_loses_nothing(kb: Path) -> None:
    out = kofid("retrieve", "-i", kb, "배열의 원소").out
    assert not {"\x1b", "\x9b", "\u2066", "\u2069", "\u202e"} & set(out)
    text = json.loads(out)["ctxs"][0]["text"]
    assert "\x9b31m \u2066뒤집힌 글\u2069" in text


def test_errors_show_names_without_obeying_them(tmp_path: Path, kb: Path) -> None:
    name = "\x1b[31m빨강\u202e.jsonl"
    (tmp_path / name).write_text('{"id": "1", "te\x9bxt\n', encoding="utf-8")
    for arguments in (["index", tmp_path / name, "-o", tmp_path / "x"], ["verify", tmp_path / ("\x1b[2J" + "없음")]):
        found = kofid(*arguments)
        assert found.code == 3 and "\\x1b[" in found.err and not {"\x1b", "\x9b", "\u202e"} & set(found.err)
    found = kofid("retrieve", "-i", kb, "--mode", "\x1b[31m", "가")
    assert found.code == 2 and "\x1b" not in found.err
    (tmp_path / "c.toml").write_text('[retrieve]\n"k\\u001b[31m" = 1\n', encoding="utf-8")
    found = kofid("--config", tmp_path / "c.toml", "retrieve", "-i", kb, "가")
    assert found.code == 3 and "\\x1b[31m" in found.err and "\x1b" not in found.err


# --- streams -------------------------------------------------------------------------------------------------


def test_closed_streams_are_no_crash(kb: Path) -> None:
    done = shell(f"kofid retrieve -i {kb} 훈민정음 <&-")
    assert done.returncode == 0 and json.loads(done.stdout)["ctxs"][0]["id"] == "b"
    done = shell(f"kofid retrieve -i {kb} <&-")
    assert done.returncode in (3, 6) and b"Traceback" not in done.stderr and done.stderr
    done = shell(f"kofid retrieve -i {kb} 훈민정음 >&-")  # the answer is lost, and that is said
    assert done.returncode == 6 and "오류".encode() in done.stderr and b"Traceback" not in done.stderr
    assert shell(f"kofid verify {kb} 2>&-").returncode == 0
    assert shell(f"kofid verify {kb}/none 2>&-").returncode == 3
    # No file that is opened later gets the number of a closed stream: libraries' words would go into it.
    assert shell(f"kofid index {kb.parent}/c.jsonl -o {kb.parent}/closed --quiet <&- 2>&-").returncode == 0
    assert kofid("verify", kb.parent / "closed").code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_devices_end_with_6(kb: Path) -> None:
    for command in (f"kofid retrieve -i {kb} 훈민정음", "kofid --help", "kofid --version"):
        done = shell(f"{command} >/dev/full")
        assert done.returncode == 6 and b"Traceback" not in done.stderr and done.stderr.count(b"\n") == 1, command
    assert shell(f"kofid verify {kb}/none 2>/dev/full").returncode == 3


def test_terminals_that_lack_letters_get_others(kb: Path, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "e", "title": "😀 웃음", "text": "웃는 얼굴 😀은 그림글자다."}])
    assert kofid("index", corpus, "-o", tmp_path / "kb").code == 0
    for encoding in ("cp949", "ascii"):
        done = shell(f"kofid retrieve -i {tmp_path / 'kb'} 웃는 얼굴", PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[0].decode(encoding))["ctxs"][0]["title"] == "😀 웃음"  # escaped
        done = shell("kofid --help", PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and b"kofid ask --demo" in done.stdout
        assert shell(f"kofid verify {tmp_path}/😀", PYTHONIOENCODING=encoding).returncode == 3


# --- the environment and the shell ---------------------------------------------------------------------------


def test_variables_that_are_no_options_are_passed_over(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VERSION", "HELP", "INSTALL_COMPLETION", "SHOW_COMPLETION", "RETRIEVE_HELP"):
        monkeypatch.setenv(f"KOFID_{name}", "1")
    monkeypatch.setenv("KOFID_RETRIEVE_KK", "3")
    found = kofid("retrieve", "-i", kb, "훈민정음")
    assert found.code == 0 and found.object["ctxs"][0]["id"] == "b"
    assert found.err.splitlines() == [
        "KOFID_RETRIEVE_HELP: 그런 선택지가 없어 무시합니다",
        "KOFID_RETRIEVE_KK: 그런 선택지가 없어 무시합니다",
    ]
    assert kofid("retrieve", "-i", kb, "훈민정음", "-q").err == ""


def test_quiet_and_language_stand_anywhere(kb: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    before = kofid("--lang", "en", "-q", "retrieve", "-i", missing, "가")
    assert before.code == 3 and before.err.startswith("error: ")
    assert kofid("retrieve", "-i", missing, "가", "--lang", "en", "-q") == before
    assert kofid("retrieve", "--lang=en", "--quiet", "-i", missing, "가") == before
    assert kofid("retrieve", "-i", kb, "qzxv", "-q", terminal=True).err == ""
    assert kofid("ask", "--lang", "fr", "-i", kb, "가").code == 2


def test_deep_settings_are_bad_input(tmp_path: Path, kb: Path) -> None:
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000, encoding="utf-8")
    found = kofid("--config", tmp_path / "deep.toml", "retrieve", "-i", kb, "가")
    assert found.code == 3 and "deep.toml" in found.err and len(found.err) < 500


def test_a_shell_completes_commands_and_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def completions(line: str) -> set[str]:
        done = shell("kofid", _KOFID_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1))
        return set(done.stdout.decode().split())

    assert completions("kofid re") == {name for name in COMMANDS if name.startswith("re")}
    assert completions("kofid ask --rea") == {"--reader"}
    assert completions("kofid retrieve --mode se") == {"sequential"}
    assert b"_KOFID_COMPLETE=complete_bash" in shell("kofid --show-completion bash").stdout


def test_a_missing_package_is_said_with_what_to_type(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(package: str) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ModuleNotFoundError(f"No module named '{package}'", name=package)

        monkeypatch.setattr("kofid.retrieval.index.Index.open", fail)

    for package, wanted in (("matplotlib.pyplot", "'kofid[plot]'"), ("peft", "'kofid[lora]'"), ("bm25s", "bm25s")):
        lacking(package)
        found = kofid("retrieve", "-i", kb, "가")
        assert found.code == 6 and f"pip install {wanted}" in found.err and "kofid의 잘못" not in found.err
    lacking("kofid.retrieval.none")
    assert kofid("retrieve", "-i", kb, "가").code == 1


def test_settings_are_written_as_the_command_s_options(kb: Path, tmp_path: Path) -> None:
    found = kofid("index", "-o", kb, "--delete", "b", "--shard", "1/2")
    assert found.code == 2 and "--shard" in found.err and "--dense" in found.err
    found = kofid("ask", "-i", kb, "가", "--beams", 3, "--temperature", 1)
    assert found.code == 2 and "--beams" in found.err and "n_beams" not in found.err
