"""A real Prometheus, and promtool."""

import json
import subprocess
import time

import pytest

from harness.programs import ROOT, tool
from harness.waiting import eventually

ODD = "a \"b\"\\ ü\n日"
ODD_IN_ERLANG = r"list_to_atom([97,32,34,98,34,92,32,252,10,16#65e5])"


def promtool(*arguments: str, text: str | None = None, program: str = "PROMTOOL") -> subprocess.CompletedProcess:
    return subprocess.run([tool(program), *arguments], input=text, text=True, timeout=60, capture_output=True)


def work(node) -> None:
    """Three waiting, two refused, one alert of each level, a control message."""
    node.eval("ok = erlmcp_queue_limits:set_limit(work, 3)")
    node.eval("[erlmcp_queue_limits:try_enqueue(work, a) || _ <- lists:seq(1, 5)]")
    node.eval(f"[erlmcp_queue_limits:record_enqueue({ODD_IN_ERLANG}, a) || _ <- lists:seq(1, 7)]")
    node.eval("erlmcp_control_plane:register_component(server, fun(_) -> ok end)")
    node.eval("erlmcp_control_plane:send_health_check(server, liveness)")
    node.eval("erlmcp_overload_monitor:force_check()")


def test_promtool_finds_nothing_to_say_about_the_metrics(node):
    work(node)
    answer = node.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    checked = promtool("check", "metrics", text=answer.text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_prometheus_has_what_the_node_says(node, prometheus):
    work(node)

    def value(query: str) -> float:
        ((_, number),) = eventually(lambda: prometheus.query(query), 15, query)
        return number

    stats = node.eval("erlmcp_queue_limits:get_role_stats(work)")
    eventually(lambda: prometheus.query('erlmcp_queue_refused_total{role="work"} == 2'), 15, "the numbers are scraped")
    assert value("up") == 1
    assert value('erlmcp_queue_depth{role="work"}') == stats["current_depth"] == 3
    assert value('erlmcp_queue_limit{role="work"}') == stats["limit"] == 3
    assert value('erlmcp_queue_enqueued_total{role="work"}') == stats["total_enqueued"] == 3
    assert value('erlmcp_queue_level{role="work"}') == 3
    assert value('sum(erlmcp_queue_alerts_total{role="work"})') >= 1
    assert value('erlmcp_queue_owners_by_utilization{role="work",from="1.0"}') == 1
    assert value('erlmcp_control_messages_total{component="server",type="health_check"}') == 1
    assert value("erlmcp_control_latency_seconds_count") == 1
    assert value('erlmcp_control_latency_seconds_bucket{le="+Inf"}') == 1
    assert value("sum(erlmcp_service_up)") == value("sum(erlmcp_switch_enabled)") == 3
    assert 0 < value("histogram_quantile(0.99, erlmcp_control_latency_seconds_bucket)") < 60


def test_a_role_may_have_any_name(node, prometheus):
    work(node)
    rows = eventually(lambda: prometheus.query("erlmcp_queue_depth == 7"), 15, "the odd role is scraped")
    assert [labels["role"] for labels, _ in rows] == [ODD]


def test_openmetrics_is_there_for_who_asks(node):
    work(node)
    answer = node.get("/metrics", {"accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1"})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("# EOF\n")
    assert 'erlmcp_queue_refused_total{role="work"} 2\n' in answer.text
    assert "# UNIT erlmcp_control_latency_seconds seconds\n" in answer.text


#: What Grafana puts in for the variables of the dashboard.
CHOSEN = {"$__rate_interval": "4s", "$__range": "1m", "$job": ".*", "$instance": ".*", "$role": ".*"}


def panels():
    """Title, expression and whether it is a heatmap, of all that the dashboard asks."""
    dashboard = json.loads((ROOT / "priv/grafana/erlmcp_native.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            promql = target["expr"]
            for variable, value in CHOSEN.items():
                promql = promql.replace(variable, value)
            yield panel["title"], promql, panel["type"] == "heatmap"


def test_the_dashboard_draws_a_few_lines_of_many_roles_and_components(node, prometheus):
    node.eval("""
        Ids = [list_to_atom("many_" ++ integer_to_list(N)) || N <- lists:seq(1, 60)],
        [ok = erlmcp_queue_limits:set_limit(Id, 3) || Id <- Ids],
        [ok = erlmcp_control_plane:register_component(Id, fun(_) -> ok end) || Id <- Ids],
        Work = fun() ->
            [[erlmcp_queue_limits:try_enqueue(Id, a) || _ <- lists:seq(1, 5)] || Id <- Ids],
            [erlmcp_queue_limits:record_dequeue(Id, Owner) || Id <- Ids, Owner <- [a, nobody]],
            [{ok, _} = erlmcp_control_plane:send_health_check(Id, liveness) || Id <- Ids]
        end,
        spawn(fun() -> (fun Again() -> Work(), receive after 300 -> Again() end end)() end), ok""")
    eventually(lambda: len(prometheus.query("rate(erlmcp_queue_dequeued_total[4s]) > 0")) == 60, 30, "all roles work")
    start = time.time()
    eventually(lambda: prometheus.query(f"count_over_time(up[1m]) and on () timestamp(up) > {start + 2}"), 20,
               "there is something to draw")
    drawn = {}
    for title, promql, is_heatmap in panels():
        data = prometheus.api("query_range", query=promql, start=str(start - 2), end=str(time.time()), step="1")
        drawn[promql] = len(data["result"])
        assert is_heatmap or drawn[promql] <= 20, (title, promql)
    assert sum(lines == 20 for lines in drawn.values()) >= 12, drawn


@pytest.mark.parametrize("program", ["PROMTOOL", "PROMTOOL_NEXT"])
def test_the_rules_are_right(program):
    rules = ROOT / "priv/prometheus/erlmcp_native.rules.yml"
    checked = promtool("check", "rules", str(rules), program=program)
    assert checked.returncode == 0, checked.stderr
    tested = promtool("test", "rules", str(ROOT / "integration/rules_test.yml"), program=program)
    assert tested.returncode == 0, tested.stdout + tested.stderr
