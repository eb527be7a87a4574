"""An Erlang node with erlmcp_native."""

import http.client
import json
import queue
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .programs import ROOT, start, stop, tail


class ErlangError(Exception):
    """An expression that did not evaluate; the text is Erlang's."""


@dataclass(frozen=True)
class Response:
    """An answer of HTTP, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Node:
    """A node of its own, on which nothing is started yet. See erlmcp_native_integration_host.

    The root is that of a tree that was compiled with this profile: this one, or another version.
    """

    def __init__(self, log: Path, root: Path = ROOT, profile: str = "integration"):
        self.log = log
        self.process = start([str(root / "scripts/run.sh"), "--input", profile,
                              "erlmcp_native_integration_host"],
                             log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._unanswered = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def start(self, env: Mapping[str, str] | None = None) -> "Node":
        """Starts cowboy, then erlmcp_native with this environment, a text of Erlang for each key."""
        for key, value in (env or {}).items():
            self.eval(f"ok = application:set_env(erlmcp_native, '{key}', {value})")
        self.eval("{ok, _} = application:ensure_all_started(cowboy)")
        self.eval("{ok, _} = application:ensure_all_started(erlmcp_native)")
        return self

    def eval(self, expressions: str, seconds: float = 30) -> Any:
        """The value of Erlang expressions, as JSON has it: atoms are strings, tuples are lists."""
        if self._unanswered:
            raise RuntimeError("this node still has to answer an earlier expression")
        line_in = " ".join(expressions.splitlines())
        try:
            self.process.stdin.write(line_in.encode() + b"\n")
            self.process.stdin.flush()
            line = self._lines.get(timeout=seconds)
        except BrokenPipeError:
            line = b""
        except queue.Empty:
            self._unanswered = True
            raise TimeoutError(f"no answer within {seconds} s to {line_in}") from None
        outcome, _, value = line.partition(b" ")
        match outcome:
            case b"ok":
                return json.loads(value)
            case b"error":
                raise ErlangError(json.loads(value))
            case _:
                raise RuntimeError(f"the node has ended, or speaks out of turn: {line!r}\n{tail(self.log)}")

    @cached_property
    def http_port(self) -> int:
        """The port of the only listener of this node. It must be one that only this machine can reach."""
        ((ip, port),) = self.eval("[ranch:get_addr(Ref) || Ref <- maps:keys(ranch:info())]")
        if ip not in ([127, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1]):
            raise AssertionError(f"listens on {ip}, not on loopback")
        return port

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.http_port}{path}"

    def open(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET",
             seconds: float = 10) -> http.client.HTTPResponse:
        """A request whose answer is still to be read, in time; for streams. To be closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=seconds)
        connection.request(method, path, headers=dict(headers or {}) | {"Connection": "close"})
        return connection.getresponse()

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Response:
        with self.open(path, headers, method) as answer:
            return Response(answer.status, answer.headers, answer.read())

    def stop(self) -> None:
        """Closes the node's input, which ends it."""
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        stop(self.process)
        self._reader.join()
        self.process.stdout.close()
