"""The example that refuses, as clients meet it that wait for as long as they are told: urllib3's, and curl's."""

import json
import math
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import urllib3

from harness.waiting import eventually

CLIENTS = 120
WINDOW = 0.1

#: At first nothing is let in: the limit is 0, and the rate is of one that has been taken. The handler of the examples
#: gives up a request that waits for 5 s, as many would on a machine that is busy enough; the other one waits for 5 ms.
LISTEN = """
    {{ok, Session}} = erlmcp_native_example_session:start_link(session_1),
    true = unlink(Session),
    Work = fun(#{{<<"params">> := Params}}) -> lists:sum(Params) end,
    ok = erlmcp_queue_limits:set_limit(http_listener, 0),
    ok = erlmcp_overload_rate:define(api, #{{rate => {rate}, burst => 1}}),
    {{ok, 0}} = erlmcp_overload_rate:take(api, <<"secret">>),
    Patient = {{"/patient", erlmcp_native_integration_handler, 5}},
    Routes = [Patient | erlmcp_native_example_http:routes(session_1, Work)],
    Options = erlmcp_native_example_admission:options(Routes, api, fun(_) -> <<"secret">> end),
    {{ok, _}} = cowboy:start_clear(example, [{{ip, {{127, 0, 0, 1}}}}, {{port, 0}}], Options),
    ranch:get_port(example)
"""

BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "sum", "params": [1, 2, 3]})


@dataclass(frozen=True)
class Refusal:
    """What one was told that was refused, and when it came back. Times are of the monotonic clock, in seconds."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: dict
    at: float
    back: list[float] = field(default_factory=list)

    @property
    def told(self) -> int:
        return int(self.headers["retry-after"])

    @property
    def least(self) -> int:
        """What it would have been told without a spread."""
        return -(-self.body["retryAfterMs"] // 1000)

    @property
    def choices(self) -> int:
        """Of how many it was told one: up to a fifth more, rounded up."""
        return math.ceil(self.least / 5) + 1


class Retry(urllib3.Retry):
    """urllib3's own, which notes down what happens."""

    refusals: list[Refusal]

    def new(self, **options):
        new = super().new(**options)
        new.refusals = self.refusals
        return new

    def increment(self, *args, response=None, **options):
        if response is not None:
            self.refusals.append(
                Refusal(response.status, response.headers, json.loads(response.data), time.monotonic()))
        return super().increment(*args, response=response, **options)

    def sleep(self, response=None):
        super().sleep(response)
        self.refusals[-1].back.append(time.monotonic())


def listen(node, rate: str, path: str = "patient") -> str:
    return f"http://127.0.0.1:{node.eval(LISTEN.format(rate=rate))}/{path}"


def set_rate(node, per_second: int) -> None:
    node.eval(f"ok = erlmcp_overload_rate:define(api, #{{rate => {{ {per_second}, second }} }})")


def set_limit(node, limit: int) -> None:
    node.eval(f"ok = erlmcp_queue_limits:set_limit(http_listener, {limit})")


def ask(url: str, begin: threading.Barrier, refusals: list[Refusal]) -> urllib3.BaseHTTPResponse:
    retry = Retry(100, status_forcelist={429, 503}, allowed_methods=None)
    retry.refusals = refusals
    with urllib3.PoolManager(retries=retry) as http:
        begin.wait(60)
        return http.request("POST", url, body=BODY, timeout=60)


def ask_all(url: str, let_in: Callable[[], None]) -> tuple[list[urllib3.BaseHTTPResponse], list[list[Refusal]]]:
    """All clients begin at once, and each asks until it has its answer. They are let in when all have been refused, but
    for the few that came when one was due. Returns the refusals of each."""
    begin = threading.Barrier(CLIENTS)
    refusals: list[list[Refusal]] = [[] for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(ask, url, begin, own) for own in refusals]
        try:
            eventually(lambda: all(own or client.done() for own, client in zip(refusals, asked)), 60, "all have come")
        finally:
            let_in()
        answers = [client.result() for client in asked]
    return answers, refusals


def herd(times: list[float]) -> int:
    """The largest number of them in any window."""
    times = sorted(times)
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - WINDOW:
            first += 1
        most = max(most, last - first + 1)
    return most


def spread(first: list[Refusal]) -> None:
    """Not too many of those that were refused for the first time are to come back together.

    Whole seconds are what clients understand, so of many that are refused in the same moment one in as many as there
    are choices comes in each of these seconds: it cannot be less. It cannot be more either, by chance and whenever they
    were refused, but by what is told them: in no window is there more than one choice of each."""
    shares = [1 / refusal.choices for refusal in first]
    expected, deviation = sum(shares), math.sqrt(sum(share * (1 - share) for share in shares))
    told = herd([refusal.at + refusal.told for refusal in first])
    came = herd([refusal.back[0] for refusal in first])
    least = herd([refusal.at + refusal.least for refusal in first])
    uniform = sum(WINDOW / (refusal.choices - 1) for refusal in first)
    print(f"of {len(first)} clients, refused for the first time: told to come back in any {WINDOW * 1000:.0f} ms "
          f"{told} at most, {least} without a spread, {expected:.0f} by chance and {uniform:.0f} if there were "
          f"fractions of seconds; {came} did")
    assert told <= expected + 6 * deviation


def check(answers: list[urllib3.BaseHTTPResponse], refusals: list[list[Refusal]], status: int) -> list[Refusal]:
    """All have succeeded; who was refused came when it was told, and not before. Returns all refusals."""
    assert [answer.status for answer in answers] == [200] * CLIENTS
    assert all(answer.json()["result"] == 6 for answer in answers)
    flat = [refusal for own in refusals for refusal in own]
    print(f"{status}: {CLIENTS} clients, {len(flat)} refusals, of one client {max(map(len, refusals))} at most")
    assert {refusal.status for refusal in flat} == {status}
    for refusal in flat:
        assert refusal.headers["content-type"] == "application/problem+json"
        assert refusal.body["status"] == status and refusal.body["retryAfterMs"] > 0
        assert refusal.least <= refusal.told < refusal.least + refusal.choices
        assert refusal.back[0] - refusal.at >= refusal.told
    spread([own[0] for own in refusals if own])
    return flat


def test_clients_that_wait_all_succeed_where_too_many_come_at_once(node):
    url = listen(node, "{1, second}")
    set_rate(node, 1_000_000_000)
    answers, refusals = ask_all(url, lambda: set_limit(node, 8))
    refusals = check(answers, refusals, 503)
    assert {refusal.body["reason"] for refusal in refusals} == {"full"}
    depth = "erlmcp_queue_limits:get_queue_depth(http_listener, erlmcp_native_example_admission)"
    eventually(lambda: node.eval(depth) == 0, what="all places are free")


@pytest.mark.parametrize("rate, policy", [("{1, second}", '"api";q=1;w=1'), ("{6, minute}", '"api";q=6;w=60')])
def test_clients_that_wait_all_succeed_where_they_come_too_fast(node, rate, policy):
    url = listen(node, rate)
    set_limit(node, CLIENTS)
    answers, refusals = ask_all(url, lambda: set_rate(node, 30))
    refusals = check(answers, refusals, 429)
    for refusal in refusals:
        assert refusal.headers["ratelimit-policy"] in (policy, '"api";q=30;w=1')
        assert refusal.headers["ratelimit"] == f'"api";r=0;t={refusal.least}'
        assert refusal.body["violated-policies"] == ["api"]
        assert "secret" not in f"{refusal.headers} {refusal.body}"
    for answer in answers:
        assert answer.headers["ratelimit-policy"] in (policy, '"api";q=30;w=1')
        assert re.fullmatch(r'"api";r=[12]?\d', answer.headers["ratelimit"])


def test_curl_waits_for_as_long_as_it_is_told_and_succeeds(node, tmp_path):
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("curl is not installed")
    url = listen(node, "{6, minute}", "rpc")
    set_limit(node, 1)
    log = tmp_path / "curl.log"
    command = [curl, "--silent", "--show-error", "--include", "--retry", "20", "--data", BODY, url]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        eventually(lambda: node.eval("maps:get(refused, erlmcp_overload_rate:info(api))") > 0, 60, "it has come")
        set_rate(node, 1)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
    told = log.read_text()
    assert told.count("HTTP/1.1 429 Too Many Requests") >= 1
    assert told.count("HTTP/1.1 200 OK") == 1 and '"result":6' in told
