"""The live table, on a real terminal (a pty)."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from search.progress import MethodProgress, SearchProgress, Value
from trials.progress import LiveProgress, captured, live

SEARCH = """
import sys, time
from search.progress import MethodProgress, SearchProgress, Value
from trials.progress import LiveProgress, say

def told():
    value = Value(13.34, 0.31)
    method = MethodProgress("seen-a", "a", "fid", 5, 0, 10, False, value, 90.0, 99.0, 2)
    return SearchProgress("seen", "images", (method,), {"rule of thumb": Value(31.2, 0.4)}, 200.0)

try:
    with LiveProgress() as progress:
        measured = progress.follow(told)
        for _ in range(int(sys.argv[1])):
            measured("seen-a", False)
            time.sleep(0.05)
except KeyboardInterrupt:
    say("interrupted")
"""
NOISE = """
import logging, os, threading
from trials.progress import LiveProgress

with LiveProgress() as progress:
    report = progress.report("preparing")
    report(1, 2, "")
    os.write(2, b"from compiled code\\n")
    print("from a print")
    logging.warning("from a log")
    progress.say("a note [x]")
    report(2, 2, "")
"""


class Terminal:
    """A command on a terminal of its own.

    Args:
        words: after `python -c`.
        columns: of the terminal.
        folder: in which it runs.
        environment: what differs from this process's.
    """

    def __init__(self, words: list[str], columns: int, folder: Path, **environment: str) -> None:
        self._screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=os.environ | {"TERM": "xterm", "OMP_NUM_THREADS": "1"} | environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._screen, 4096):
                self.seen += piece
        except OSError:  # the other end is closed
            pass

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.seen.decode(errors="replace"):
            assert time.monotonic() < deadline, self.seen.decode(errors="replace")
            assert self.process.poll() is None, self.seen.decode(errors="replace")
            time.sleep(0.05)

    def end(self) -> str:
        """Everything that was written to the terminal."""
        self.process.wait(timeout=60)
        self._reader.join(timeout=60)
        os.close(self._screen)
        return self.seen.decode(errors="replace").replace("\r\n", "\n")


def last_frame(written: str) -> str:
    """What stands on the terminal in the end, as it obeys the codes that move its cursor."""
    lines, row, column = [""], 0, 0
    for code, moves, letter in re.findall(r"(\x1b\[([0-9;?]*)[A-Za-z])|([^\x1b])", written):
        if letter == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif letter == "\r":
            column = 0
        elif letter:
            lines[row] = lines[row][:column].ljust(column) + letter + lines[row][column + 1 :]
            column += 1
        elif code.endswith("A"):
            row = max(0, row - int(moves or 1))
        elif code.endswith("K"):
            lines[row] = ""
    return "\n".join(lines)


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["coloured", "NO_COLOR"])
def test_ctrl_c_leaves_the_table_and_a_clean_terminal(
    environment: dict[str, str], tmp_path: Path
) -> None:
    terminal = Terminal([SEARCH, "10000"], 80, tmp_path, **environment)
    terminal.wait_for("13.34")
    os.killpg(terminal.process.pid, signal.SIGINT)  # as a terminal sends it
    written = terminal.end()
    table, after = written.rsplit("\x1b[?25h", 1)  # which shows the cursor
    assert "\x1b[?25l" in table
    assert "\x1b[?25l" not in after
    assert after.strip() == "interrupted"
    lines = last_frame(table).replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert lines[0].strip() == "seen: 5 of 10 evaluations, about 3 min left"
    assert lines[1].split() == ["method", "done", "images/s", "best", "FID", "left", "workers"]
    assert lines[3].split() == ["a", "5/10", "90", "13.34", "±", "0.31", "99", "s", "2"]
    assert lines[5].split() == ["rule", "of", "thumb", "31.20", "±", "0.40"]
    assert max(map(len, lines)) <= 80
    if environment:
        assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", written)


@pytest.mark.parametrize("stdin", [True, False], ids=["typed", "no stdin"])
def test_what_others_print_stands_above_the_display(stdin: bool, tmp_path: Path) -> None:
    code = NOISE if stdin else f"import os\nos.close(0); os.open(os.devnull, 0)\n{NOISE}"
    terminal = Terminal([code], 100, tmp_path)
    written = terminal.end()
    assert terminal.process.returncode == 0
    shown = last_frame(written)
    for line in ("from compiled code", "from a print", "from a log", "a note [x]"):
        assert shown.count(line) == 1, shown
        assert shown.index(line) < shown.rindex("preparing"), shown
    assert shown.count("preparing") == 1, shown


def test_what_is_printed_is_read_although_the_terminal_is_gone() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"first\nsecond\n")
    os.close(writing)
    read: list[str] = []

    def above(line: Text) -> None:
        read.append(line.plain)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    captured._pass_on(reading, above)
    assert read == ["first", "second"]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(tmp_path: Path) -> None:
    written = Terminal([SEARCH, "2"], 80, tmp_path, TERM="dumb").end()
    assert written.replace("\N{NO-BREAK SPACE}", " ").splitlines() == [
        "seen-a: 5/10, 90 images/s, best FID 13.34 ± 0.31 (rule of thumb 31.20 ± 0.40), about 99 s "
        "left"
    ]


@pytest.mark.parametrize("draws", [True, False], ids=["terminal", "log"])
def test_a_search_that_cannot_be_looked_at_costs_no_more_than_its_display(
    draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = io.StringIO()
    monkeypatch.setattr(live, "stderr", Console(file=text, force_terminal=draws, width=150))
    monkeypatch.setattr(live, "LOG_EVERY", 0.0)
    best = Value(31.2, None)
    method = MethodProgress("seen-a", "a", "fid", 5, 0, 10, False, best, None, None, 2)
    looks = iter([SearchProgress("seen", "images", (method,))])

    def told() -> SearchProgress:
        if (found := next(looks, None)) is None:
            raise RuntimeError("changed size")
        return found

    with LiveProgress() as progress:
        measured = progress.follow(told)
        for _ in range(3):
            measured("seen-a", False)
            progress._next_look = 0.0
            progress._drawn()
    written = text.getvalue()
    assert written.count("the search goes on: RuntimeError: changed size") == 1
    assert not draws or "31.20" in written[written.rindex("changed size") :]


def test_the_lines_of_a_log_never_promise_too_little(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    with LiveProgress() as progress:
        report = progress.report("resumed")
        for done in (50, 51, 60, 100):  # what was recorded comes at once
            report(done, 100, "")
            now[0] += 20
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "resumed: 50/100",
        "resumed: 51/100 (about 16 min left)",
        "resumed: 60/100 (about 3 min left)",
        "resumed: 100/100",
    ]
