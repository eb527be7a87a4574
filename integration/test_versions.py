"""Two versions in one cluster, this one and the last that was released: what one asks the other answers, both ways."""

import os

import pytest

from harness import release
from harness.programs import MORTAL, start, stop
from harness.waiting import eventually
from test_page import enqueue, limit, refuse

NAMES = {"released": "released@127.0.0.2", "this": "this@127.0.0.3"}
STRANGER = "stranger@127.0.0.4"

ENV = {"cluster": "#{nodes => 2, interval_ms => 200}",
       "rates": "#{api => #{rate => {1000, hour}, scope => cluster}}",
       "node": "#{memory => {0.98, 0.99}, memory_limit => 1000000000000, run_queue => {1000, 2000}}"}

BOTH_WAYS = pytest.mark.parametrize("asker, asked", [("released", "this"), ("this", "released")],
                                    ids=["released-asks-this", "this-asks-released"])


@pytest.fixture(scope="module")
def released():
    """Where the last release is, compiled."""
    try:
        tag = release.last_tag()
    except release.Missing as reason:
        pytest.skip(f"There is nothing to compare this version with: {reason}")
    return release.build(tag)


@pytest.fixture
def nodes(released, start_named):
    """One of each version, which are not connected yet."""
    return {"released": start_named(NAMES["released"], root=released, **ENV), "this": start_named(NAMES["this"], **ENV)}


@pytest.fixture
def pair(nodes):
    """One of each version, which have heard each other."""
    connect(nodes)
    return nodes


def connect(nodes):
    assert nodes["this"].eval(f"net_kernel:connect_node('{NAMES['released']}')") is True
    for version, node in nodes.items():
        eventually(lambda: node.get("/api/cluster").json()["counted"]["fresh"] == 2, 30, f"{version} hears the other")


def nodes_of(node):
    """What a node shows of all nodes, by the version that it is of."""
    rows = {row["node"]: row for row in node.get("/api/cluster").json()["nodes"]}
    return {version: rows[name] for version, name in NAMES.items() if name in rows}


def work_of(roles):
    """What is said of the role `work`, {} while nothing is."""
    return next((row for row in roles if row["role"] == "work"), {})


def send(node, call):
    """What comes of a control message, without what differs each time."""
    return node.eval(f"""
        case erlmcp_control_plane:{call} of
            {{ok, Us}} when is_integer(Us) -> ok;
            {{error, {{Why, _}}}} when Why =:= handler_crashed; Why =:= rate_limited -> {{error, Why}};
            Other -> Other
        end""")


#: A component that does as it is told by the name of a task, and tells the process that evaluates what it got.
REGISTER = """
    Test = self(),
    Handler = fun
        ({control, cancel_task, #{task_id := {answer, Answer}}}) -> Answer;
        ({control, cancel_task, #{task_id := crash}}) -> exit(on_purpose);
        ({control, cancel_task, #{task_id := wait}}) -> Test ! {waits, self()}, receive go -> ok end;
        ({control, Type, Map}) -> Test ! {got, Type, maps:get(task_id, Map, none)}, ok
    end,
    ok = erlmcp_control_plane:register_component(there, #{handler => Handler, timeout_ms => 30000}),
    ok = erlmcp_control_plane:register_component(slow, #{handler => Handler, timeout_ms => 1000}),
    ok = erlmcp_control_plane:register_component(rated, #{
        handler => Handler, timeout_ms => 30000, rate => #{cancel_task => {1, hour}}})"""
GOT = "(fun All() -> receive {got, Type, Id} -> [{Type, Id} | All()] after 0 -> [] end end)()"


@BOTH_WAYS
def test_control_messages_are_answered(pair, asker, asked):
    pair[asked].eval(REGISTER)
    there, rated, nobody = (f"{{{component}, '{NAMES[asked]}'}}" for component in ("there", "rated", "nobody"))
    cases = {
        "a health check": (f"send_health_check({there}, full)", "ok"),
        "a drained session": (f"send_drain_session({there}, s)", "ok"),
        "a cancelled task": (f"send_cancel_task({there}, t)", "ok"),
        "a circuit breaker": (f"send_circuit_breaker({there}, open)", "ok"),
        "a message in full": (f"send_priority({there}, {{control, cancel_task, #{{task_id => long}}}})", "ok"),
        "a large message": (f"send_cancel_task({there}, {{answer, {{error, binary:copy(~\"x\", 100_000)}}}})",
                            ["error", "x" * 100_000]),
        "one that nobody waits for": (f"cast_priority({there}, {{control, cancel_task, #{{task_id => cast}}}})", "ok"),
        "an error of the handler": (f"send_cancel_task({there}, {{answer, {{error, e}}}})", ["error", "e"]),
        "a crash of the handler": (f"send_cancel_task({there}, crash)", ["error", "handler_crashed"]),
        "no such component": (f"send_cancel_task({nobody}, t)", ["error", "component_not_registered"]),
        "the first within a rate": (f"send_cancel_task({rated}, rated)", "ok"),
        "one above a rate": (f"send_cancel_task({rated}, rated)", ["error", "rate_limited"]),
    }
    answers = {what: send(pair[asker], call) for what, (call, _) in cases.items()}
    wrong = [f"{what}, sent by {asker} to {asked}, is answered with {answers[what]} in place of {expected}"
             for what, (_, expected) in cases.items() if answers[what] != expected]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    expected = [["health_check", "none"], ["drain_session", "none"], ["cancel_task", "t"], ["circuit_breaker", "none"],
                ["cancel_task", "long"], ["cancel_task", "cast"], ["cancel_task", "rated"]]
    got = []
    eventually(lambda: got.extend(pair[asked].eval(GOT)) or len(got) >= len(expected), 20,
               f"all that {asker} sent is run by {asked}")
    assert sorted(got) == sorted(expected)


@BOTH_WAYS
def test_a_message_that_its_sender_gave_up_is_not_run(pair, asker, asked):
    pair[asked].eval(REGISTER)
    slow = f"{{slow, '{NAMES[asked]}'}}"
    assert send(pair[asker], f"cast_priority({slow}, {{control, cancel_task, #{{task_id => wait}}}})") == "ok"
    assert pair[asked].eval("receive {waits, Handler} -> register(waiting, Handler) after 20000 -> not_run end") is True
    assert send(pair[asker], f"send_cancel_task({slow}, given_up)") == ["error", "timeout"]
    pair[asked].eval("waiting ! go")
    eventually(lambda: send(pair[asker], f"send_cancel_task({slow}, later)") == "ok", 20, f"{asked} answers again")
    assert ["cancel_task", "given_up"] not in pair[asked].eval(GOT)


@BOTH_WAYS
def test_aliases_take_priority_messages_and_batches(pair, asker, asked):
    pair[asker].eval("register(test, self())")
    pair[asked].eval(f"{{test, '{NAMES[asker]}'}} ! {{alias, erlmcp_priority:create_priority_alias()}}, ok")
    pair[asker].eval("""
        receive {alias, Alias} ->
            ok = erlmcp_priority:send_priority(Alias, one, self()),
            ok = erlmcp_priority:send_batch(Alias, [two, three], self()),
            ok = erlmcp_priority:send_urgent(Alias, four)
        after 20000 -> error(no_alias)
        end""")
    got = pair[asked].eval(f"""
        From = fun(Pid) -> node(Pid) =:= '{NAMES[asker]}' end,
        Next = fun() -> receive {{priority, Pid, What}} -> {{From(Pid), What}}; {{urgent, What}} -> What
                        after 20000 -> none end end,
        [Next() || _ <- [1, 2, 3]]""")
    assert got == [[True, "one"], [True, ["batch", ["two", "three"]]], "four"], f"sent by {asker} to {asked}"


def broadcast(node, group, message="hello"):
    reached = node.eval(f"erlmcp_priority:broadcast({group}, {message}, self())")
    return reached["reached"], reached["nodes"]


@BOTH_WAYS
def test_groups_reach_members_of_both_versions(nodes, asker, asked):
    members = {name: "ok" for name in NAMES.values()}
    for node in nodes.values():
        node.eval("ok = erlmcp_priority:join(early)")
    connect(nodes)
    for node in nodes.values():
        node.eval("ok = erlmcp_priority:join(late)")
    for group in ("early", "late"):
        eventually(lambda: broadcast(nodes[asker], group) == (2, members), 20,
                   f"{asker} knows that {asked} is in the group {group}")
    assert broadcast(nodes[asker], "late", "last") == (2, members)
    got = "receive {priority, From, last} -> node(From) after 20000 -> none end"
    for version, node in nodes.items():
        assert node.eval(got) == NAMES[asker], f"a broadcast of {asker} to {version}"
    nodes[asked].eval("ok = erlmcp_priority:leave(early)")
    alone = (1, {NAMES[asker]: "ok"})
    eventually(lambda: broadcast(nodes[asker], "early") == alone, 20, f"{asker} knows that {asked} has left")
    assert broadcast(nodes[asker], "late") == (2, members)


@BOTH_WAYS
def test_each_shows_the_other_and_the_sums_of_both(pair, asker, asked):
    for node in pair.values():
        limit(node, "work", 10)
    enqueue(pair[asker], "work", "one", 2)
    enqueue(pair[asked], "work", "two", 10)
    refuse(pair[asked], "work", "two", 3)
    pair[asked].eval("erlmcp_overload_monitor:force_check()")
    row = {"role": "work", "depth": 10, "limit": 10, "owners": 1, "refused": 3, "level": "overload"}
    sums = row | {"depth": 12, "owners": 2, "nodes": 2}
    for version, node in pair.items():
        eventually(lambda: work_of(node.get("/api/cluster").json()["roles"]) == sums, 20, f"{version} has the sums")
    eventually(lambda: nodes_of(pair[asker])[asked]["rates"], 20, f"{asker} hears what {asked} is asked of rates")
    seen = nodes_of(pair[asker])[asked]
    assert work_of(seen["roles"]) == row
    assert (seen["state"], seen["pressure"]) == ("fresh", {"level": 0, "cause": "none"})
    assert seen["vsn"] == pair[asked].eval("{ok, Vsn} = application:get_key(erlmcp_native, vsn), list_to_binary(Vsn)")
    assert [rate["rate"] for rate in seen["rates"]] == ["api"]
    # Closer: its owners, and what the page shows of it.
    ask = f"erlmcp_overload_cluster:ask('{NAMES[asked]}', erlmcp_overload_monitor, queues, [work])"
    answer, owners = pair[asker].eval(ask)
    assert (answer, [(owner["process"], owner["depth"]) for owner in owners]) == ("ok", [("two", 10)])
    said = pair[asker].get(f"/api/cluster?node={NAMES[asked]}")
    assert said.status == 200 and said.json()["summary"]["node"] == NAMES[asked]
    shown = work_of(said.json()["summary"]["roles"])
    assert (shown["depth"], shown["level"], shown["refused"]) == (10, "overload", 3)


def shares(nodes):
    return {version: node.eval("maps:get(share, erlmcp_overload_rate:info(api))") for version, node in nodes.items()}


@BOTH_WAYS
def test_a_rate_is_shared_by_what_is_asked_of_each(pair, asker, asked):
    eventually(lambda: shares(pair) == {asker: 0.5, asked: 0.5}, 20, "each has half while nobody asks")
    pair[asker].eval("""
        spawn(fun() -> (fun Again() -> [erlmcp_overload_rate:take(api, key) || _ <- lists:seq(1, 50)],
                                       receive after 100 -> Again() end end)() end), ok""")
    eventually(lambda: abs(shares(pair)[asker] - 0.95) < 0.02, 20, f"{asker} has what is asked of it")
    eventually(lambda: abs(shares(pair)[asked] - 0.05) < 0.02, 20, f"{asked} makes room for what {asker} is asked")


@BOTH_WAYS
def test_one_that_is_killed_is_missing(pair, asker, asked):
    for node in pair.values():
        limit(node, "work", 10)
        enqueue(node, "work", "one", 2)
        node.eval("ok = erlmcp_priority:join(all)")
    summed = lambda: work_of(pair[asker].get("/api/cluster").json()["roles"]).get("nodes")
    eventually(lambda: broadcast(pair[asker], "all")[0] == 2, 20, f"{asker} reaches {asked}")
    eventually(lambda: summed() == 2, 20, "both are in the sums")
    pair[asked].process.kill()
    eventually(lambda: nodes_of(pair[asker])[asked]["state"] != "fresh", 20, f"{asker} has lost {asked}")
    eventually(lambda: summed() == 1, 20, "it is in no sum")
    name = NAMES[asked]
    error, state = pair[asker].eval(f"erlmcp_overload_cluster:ask('{name}', erlang, node, [])")
    assert error == "error" and state in ("stale", "gone")
    assert send(pair[asker], f"send_health_check({{there, '{name}'}}, full)") == ["error", ["nodedown", name]]
    eventually(lambda: broadcast(pair[asker], "all") == (1, {NAMES[asker]: "ok"}), 20, "it is in no group")
    eventually(lambda: abs(pair[asker].eval("maps:get(share, erlmcp_overload_rate:info(api))") - 0.5) < 0.01, 20,
               "one of two has half of the rate")


@pytest.fixture
def stranger(erl_flags, tmp_path):
    """A node without this library."""
    process = start([*MORTAL, "erl", "-noinput"], tmp_path / "stranger.log",
                    env=os.environ | {"ERL_FLAGS": erl_flags(STRANGER)})
    yield STRANGER
    stop(process)


@pytest.mark.parametrize("version", NAMES)
def test_a_node_without_this_library_is_no_part_of_it(nodes, stranger, version):
    node = nodes[version]
    eventually(lambda: node.eval(f"net_kernel:connect_node('{stranger}')") is True, 30, "they are connected")
    calls = [f"send_cancel_task({{there, '{stranger}'}}, t)",
             f"cast_priority({{there, '{stranger}'}}, {{control, cancel_task, #{{task_id => t}}}})"]
    assert [send(node, call) for call in calls] == [["error", ["not_supported", 0]]] * 2
    node.eval("ok = erlmcp_priority:join(all)")
    assert broadcast(node, "all") == (1, {NAMES[version]: "ok"})
    assert node.eval(f"erlmcp_overload_cluster:ask('{stranger}', erlang, node, [])") == ["error", "unknown"]
    assert stranger not in [row["node"] for row in node.get("/api/cluster").json()["nodes"]]
