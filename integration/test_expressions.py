"""All that the dashboard and the rules ask, asked of a Prometheus of either edition over a node at work."""

import json
import re

import pytest

from harness.programs import ROOT
from harness.waiting import eventually
from test_prometheus import panels

RULES = ROOT / "priv/prometheus/erlmcp_native.rules.yml"

#: A metric or a recorded series, with what it is chosen by.
SELECTOR = re.compile(r"\b(?:\w+:)?erlmcp_\w+(?::\w+)?(?:\{[^}]*\})?")

#: Something of everything, four times a second.
WORK = """
    ok = erlmcp_queue_limits:set_limit(work, 3),
    ok = erlmcp_queue_limits:set_caps(work, #{total => 5, bytes => 5000}),
    ok = erlmcp_queue_limits:set_limit(timed, {wait, 100, #{min => 2, max => 50}}),
    ok = erlmcp_queue_limits:set_reserve(work, #{sheddable => 50}),
    ok = erlmcp_overload_rate:define(api, #{rate => {1, second}, burst => 2}),
    ok = erlmcp_control_plane:register_component(server, #{
        handler => fun(_) -> ok end, rate => #{cancel_task => {1, second}}}),
    Work = fun() ->
        [erlmcp_queue_limits:try_enqueue(Role, a, #{class => Class, bytes => 100})
         || Role <- [work, timed], Class <- [sheddable, sheddable_plus, critical, critical_plus], _ <- [1, 2, 3]],
        [erlmcp_queue_limits:record_dequeue(Role, Owner) || Role <- [work, timed], Owner <- [a, a, nobody]],
        [erlmcp_overload_rate:take(api, client) || _ <- [1, 2]],
        erlmcp_control_plane:send_health_check(server, liveness),
        [erlmcp_control_plane:send_cancel_task(server, t) || _ <- [1, 2]],
        erlmcp_control_cancel:cancel(erlmcp_control_cancel:new(#{}), done)
    end,
    spawn(fun() -> (fun Again() -> Work(), receive after 250 -> Again() end end)() end), ok"""


@pytest.fixture(params=["PROMETHEUS", "PROMETHEUS_NEXT"], ids=["2.42", "3.5"])
def edition(request, start_node, start_prometheus):
    """A Prometheus with the rules, over a node that works and pushes to a collector that is not there."""
    node = start_node(otlp='#{endpoint => "http://127.0.0.1:1/v1/metrics", interval_ms => 1000}',
                      cluster="#{nodes => 1}",
                      node='#{memory => {0.98, 0.99}, memory_limit => 1000000000000, run_queue => {1000, 2000}}')
    node.eval(WORK)
    return start_prometheus(f"127.0.0.1:{node.http_port}", program=request.param, rules=RULES)


def numbers(prometheus, promql):
    """What a query gives that can be drawn."""
    return [value for _, value in prometheus.query(promql) if value == value]


def test_the_dashboard_draws_each_of_its_expressions(edition):
    asked = list(panels())
    assert len(asked) > 50
    undrawn = {promql: title for title, promql, _ in asked}

    def all_drawn():
        for promql in list(undrawn):
            if numbers(edition, promql):
                del undrawn[promql]
        return not undrawn

    try:
        eventually(all_drawn, 60)
    except TimeoutError:
        pass
    assert undrawn == {}


def test_each_variable_of_the_dashboard_has_values(edition):
    dashboard = json.loads((ROOT / "priv/grafana/erlmcp_native.json").read_text())
    asked = [variable["definition"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    assert len(asked) == 3
    for definition in asked:
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", definition).groups()
        matching = {"match[]": re.sub(r"\$\w+", ".*", selector)}
        eventually(lambda: edition.api(f"label/{label}/values", **matching), 30, definition)


def test_no_rule_fails_and_each_has_something_to_judge(edition):
    def rules():
        found = [rule for group in edition.api("rules")["groups"] for rule in group["rules"]]
        return all(rule["health"] != "unknown" for rule in found) and found

    found = eventually(rules, 60, "each rule was evaluated")
    assert len(found) == RULES.read_text().count("expr:")
    assert [(rule["name"], rule["lastError"]) for rule in found if rule["health"] != "ok"] == []
    # An alert that does not fire has no data: what it judges has to have some.
    asked = {selector for rule in found for selector in SELECTOR.findall(rule["query"])}
    assert len(asked) > 30
    for selector in sorted(asked):
        eventually(lambda: edition.query(selector), 60, selector)
