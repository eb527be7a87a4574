"""The endpoints as a script reads them, and erlmcp's own metrics."""

import json
import time

import pytest

from harness.waiting import eventually

ENDPOINTS = ("/api/summary", "/api/queues", "/api/alerts", "/api/rates", "/api/control", "/health/live",
             "/health/ready")

METRICS_SERVER = """
    {ok, Tokens, _} = erl_scan:string("
        -module(erlmcp_metrics_server).
        -export([record_latency/1, record_error/0]).
        record_latency(Ms) -> gen_server:cast(erlmcp_metrics_server, {latency, Ms}).
        record_error() -> gen_server:cast(erlmcp_metrics_server, error).
    "),
    {[], Forms} = lists:foldl(
        fun({dot, _} = Dot, {Form, Done}) ->
                {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
                {[], Done ++ [Parsed]};
           (Token, {Form, Done}) -> {[Token | Form], Done}
        end, {[], []}, Tokens),
    {ok, Module, Beam} = compile:forms(Forms),
    {module, _} = code:load_binary(Module, "stand-in", Beam),
    Seen = ets:new(seen, [public, named_table]),
    ets:give_away(Seen, whereis(init), none),
    Server = spawn(fun() ->
        register(erlmcp_metrics_server, self()),
        Loop = fun Again() ->
            receive
                {'$gen_cast', error} -> ets:update_counter(seen, errors, 1, {errors, 0}), Again();
                {'$gen_cast', {latency, Ms}} when is_number(Ms) ->
                    ets:update_counter(seen, latencies, 1, {latencies, 0}), Again()
            end
        end,
        Loop()
    end),
    is_pid(Server)
"""


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_endpoint_answers_in_json_and_head_with_its_headers(node, path):
    answer = node.get(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)
    head = node.get(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")


def test_why_a_request_was_refused_can_be_read(node):
    node.eval("ok = erlmcp_queue_limits:set_limit(work, 2)")
    node.eval("[erlmcp_queue_limits:try_enqueue(work, a) || _ <- lists:seq(1, 5)]")
    (role,) = [role for role in node.get("/api/summary").json()["roles"] if role["role"] == "work"]
    assert (role["depth"], role["limit"], role["refused"], role["level"]) == (2, 2, 3, "overload")
    assert role["retry_after_ms"] == 1000 and role["last_refused_ms"] > 0
    (queue,) = node.get("/api/queues?role=work&top=5").json()["queues"]
    assert queue.pop("stalled_ms") >= 0
    assert queue == {
        "role": "work", "process": "a", "kind": "counted",
        "depth": 2, "limit": 2, "utilization": 1.0, "status": "overload",
        "wait_ms": None, "sojourn_ms": None, "drain_per_s": None}
    assert {alert["level"] for alert in node.get("/api/alerts?role=work").json()["alerts"]} >= {"overload"}


@pytest.mark.parametrize("path", [
    "/api/queues?top=many", "/api/queues?top=1&top=2", "/api/queues?role=%ff%zz", "/api/alerts?roll=x"])
def test_a_wrong_parameter_is_named(node, path):
    answer = node.get(path)
    assert answer.status == 400
    assert answer.json()["reason"]


def test_unknown_paths_and_methods(node):
    assert node.get("/nowhere").status == 404
    answer = node.get("/api/summary", method="DELETE")
    assert answer.status == 405 and "GET" in answer.headers["allow"]


def test_the_stream_tells_of_a_snapshot_a_second_and_alerts_at_once(node):
    with node.open("/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        events = []

        def read_until(name: str, seconds: float):
            deadline = time.monotonic() + seconds
            event = None
            while time.monotonic() < deadline:
                line = stream.readline().decode().rstrip("\n")
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    events.append((event, json.loads(line.removeprefix("data: "))))
                    if event == name:
                        return events[-1][1]
            raise TimeoutError(name)

        for _ in range(3):
            assert read_until("snapshot", 5)["services"]["erlmcp_queue_limits"] is True
        node.eval("ok = erlmcp_queue_limits:set_limit(work, 1)")
        node.eval("erlmcp_queue_limits:record_enqueue(work, a)")
        alert = read_until("alert", 2)
        assert (alert["what"], alert["level"], alert["role"], alert["process"]) == ("raised", "overload", "work", "a")


def test_refusals_and_latencies_reach_erlmcps_own_metrics(node):
    assert node.eval(METRICS_SERVER) is True
    node.eval("ok = application:set_env(erlmcp_native, metrics_server, [latencies, refusals])")
    node.eval("ok = erlmcp_native_app:reload_config()")
    node.eval("ok = erlmcp_queue_limits:set_limit(work, 0)")
    node.eval("erlmcp_control_plane:register_component(server, fun(_) -> ok end)")

    def seen(key: str) -> int:
        node.eval("erlmcp_queue_limits:try_enqueue(work, a)")
        node.eval("erlmcp_control_plane:send_health_check(server, liveness)")
        return node.eval(f"case ets:lookup(seen, {key}) of [] -> 0; [{{_, N}}] -> N end")

    eventually(lambda: seen("errors"), 10, "refusals")
    eventually(lambda: seen("latencies"), 10, "latencies")
