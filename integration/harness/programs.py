"""Programs that a test starts. They end with the test, and when the tests themselves are killed."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .waiting import eventually

#: Put in front of a command: the kernel ends it when the process that started it is gone.
MORTAL = ("setpriv", "--pdeathsig", "TERM", "--")

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("PROMETHEUS", "PROMTOOL", "PROMETHEUS_NEXT", "PROMTOOL_NEXT", "CHROMIUM", "CHROMEDRIVER")


def tool(name: str) -> str:
    """The path of one of TOOLS, as scripts/integration_tools.sh tells it."""
    return os.environ[name]


def start(command: list[str], log: Path, **options) -> subprocess.Popen:
    """Starts a program in a session of its own, with standard error, and output if nobody takes it, in the log."""
    with log.open("ab") as file:
        return subprocess.Popen(command, **({"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
                                            | options | {"start_new_session": True}))


def stop(process: subprocess.Popen, seconds: float = 10) -> None:
    """Ends a program that start() started and all that it has started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        with contextlib.suppress(TimeoutError):
            eventually(lambda: process.poll() is not None and not list(session(process.pid)), seconds)
            return
    raise TimeoutError(f"{process.args} survived SIGKILL")


def session(leader: int) -> Iterator[int]:
    """The living processes of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _parent, _group, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(sid) == leader and state not in "ZX":
                yield int(folder.name)


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
