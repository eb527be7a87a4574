"""The demo, as CI and a terminal see it."""

import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from harness.programs import ROOT

COMMAND = [str(ROOT / "scripts/run.sh"), "demo", "erlmcp_native_demo"]


def environment(log: Path, **settings: str) -> dict[str, str]:
    return os.environ | {"DEMO_SECONDS": "4", "DEMO_LOG": str(log), "TERM": "xterm"} | settings


def test_without_a_terminal_it_logs_and_keeps_its_promises(tmp_path: Path):
    log = tmp_path / "demo.jsonl"
    run = subprocess.run(COMMAND, env=environment(log, DEMO_PLAIN="1"), text=True, timeout=120, capture_output=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\x1b" not in run.stdout
    assert re.search(r"page: http://127\.0\.0\.1:\d+/", run.stdout)
    phases = ("A NAIVE NODE", "THE SAME, BOUNDED", "THREE NODES", "CALM", "TENANTS", "A NOISY ONE", "SURGE",
              "OVERLOAD, FIXED", "PAUSE", "OVERLOAD, WAIT", "FAULTS", "PRESSURE", "RECOVERY")
    assert all(phase in run.stdout for phase in phases)
    # Of two nodes that were asked for too much one refused, and lived.
    assert re.search(r"^refused at once +0 +[1-9]", run.stdout, re.MULTILINE)
    assert re.search(r"^in the end .* alive$", run.stdout, re.MULTILINE)
    # Of three nodes one was killed, and was not counted any more.
    assert re.search(r"^all three know of each other .*; 200 requests held in all$", run.stdout, re.MULTILINE)
    assert re.search(r"^one killed: it is in no sum .*; 100 requests held in all$", run.stdout, re.MULTILINE)
    # One tenant was refused by its rate, and the others were not.
    assert re.search(r"^refused by their rate +0 +0 +[1-9]", run.stdout, re.MULTILINE)
    cancelled = r"CANCELLED a tool past [\d,]+: ended in [\d,.]+ ms; the next (never began|ended, too)$"
    assert re.search(cancelled, run.stdout, re.MULTILINE)
    # The node refused, and was over it.
    assert re.search(r"^  sheddable, node +0 +0 +[1-9]", run.stdout, re.MULTILINE)
    assert re.search(r"^for memory; it served all again [\d,.]+ ms after", run.stdout, re.MULTILINE)
    # What is a matter of time may be missed on a machine with much else to do.
    assert re.search(r"All promises are met\.|[1-9]\d* not met; none of what decides", run.stdout)
    assert max(map(len, run.stdout.splitlines()[1:])) <= 80  # the first has a path in it
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) > 4
    assert all(promise["ok"] for promise in lines[-1]["promises"])
    assert [result["how"] for result in lines[0]["results"]] == ["bare", "limited"]


def test_in_a_terminal_of_80_by_24_it_stays_inside(tmp_path: Path):
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(COMMAND, env=environment(tmp_path / "demo.jsonl"), stdin=follower, stdout=follower,
                               stderr=follower, start_new_session=True)
    os.close(follower)
    shown, deadline = b"", time.monotonic() + 120
    try:
        while time.monotonic() < deadline:
            if select.select([leader], [], [], 1)[0]:
                try:
                    shown += os.read(leader, 65536)
                except OSError:  # the other end is closed
                    break
            elif process.poll() is not None:
                break
        assert process.wait(10) == 0
    finally:
        process.kill()
        os.close(leader)
    frames = shown.decode().split("\x1b[H")[1:-1]
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).splitlines() for frame in frames]
    assert len(plain) > 8
    assert all(len(frame) <= 24 and all(len(line) <= 80 for line in frame) for frame in plain)
    assert any("THE SAME, BOUNDED" in line for frame in plain for line in frame)
    assert any("OVERLOAD" in line for frame in plain for line in frame)


@pytest.mark.parametrize("settings", [{"DEMO_SECONDS": "3"}, {"DEMO_SECONDS": "many"}, {"DEMO_PORT": "99999"}])
def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, str]):
    run = subprocess.run(COMMAND, env=environment(tmp_path / "demo.jsonl", **settings), text=True, timeout=60,
                         capture_output=True)
    assert run.returncode == 2
    assert next(iter(settings)) in run.stderr
