"""The cluster on the page: all nodes with the sums of their roles, and one of them by its address."""

import re
import time

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from harness.waiting import eventually
from test_drill import AXE, VIOLATIONS, WIDTHS, address, go, lines, rows, seen, verdict
from test_page import CONTRAST, Page, enqueue, fits, limit, refuse

A, B = "a@127.0.0.2", "b@127.0.0.3"
CLUSTER = "#{nodes => 2, interval_ms => 200}"


@pytest.fixture
def nodes(start_named):
    """Two nodes that are connected."""
    a, b = start_named(A, cluster=CLUSTER), start_named(B, cluster=CLUSTER)
    assert a.eval(f"net_kernel:connect_node('{B}')") is True
    eventually(lambda: a.get("/api/cluster").json()["counted"]["fresh"] == 2, 30, "both are heard")
    return a, b


@pytest.fixture
def page(nodes, browser):
    page = Page(nodes[0], browser)
    eventually(lambda: len(rows(page, "cluster-nodes")) == 2, 30, "the nodes are shown")
    yield page
    # A node that ends while it is asked is answered with 503, of which the browser writes a line.
    assert [line for line in browser.console() if "?node=" not in line] == []


def busy(nodes):
    a, b = nodes
    for node in nodes:
        limit(node, "work", 10)
    enqueue(a, "work", "one", 2)
    enqueue(b, "work", "two", 10)
    refuse(b, "work", "two", 3)
    b.eval("erlmcp_overload_monitor:force_check()")


def states(page):
    return {row["node"]: row["state"] for row in rows(page, "cluster-nodes")}


def by_role(page, table):
    return {row["role"]: row for row in rows(page, table)}


def sums(page):
    return by_role(page, "cluster-roles")


def test_all_nodes_are_shown_with_the_sums_of_their_roles(nodes, page):
    busy(nodes)
    eventually(lambda: sums(page).get("work", {}).get("depth") == "12", 30, "both are in the sum")
    assert sums(page)["work"] == {"role": "work", "level": "overload", "depth": "12", "limit": "10", "owners": "2",
                                  "refused": "3", "nodes": "2"}
    # The fullest comes first.
    worst, own = rows(page, "cluster-nodes")
    assert (worst["node"], worst["state"], worst["role"], worst["level"]) == (B, "fresh", "work", "overload")
    assert (own["node"], own["state"]) == (A, "fresh, this one") and own["age"].endswith(" ago")
    assert page.text("#cluster-said") == "2 nodes are fresh, as many as are expected."
    assert A in page.text("#cluster-note")
    # All of it comes from the node of the page.
    asked = page.run("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert all(url.startswith(nodes[0].url("/")) for url in asked)


def test_a_node_is_chosen_and_says_how_it_is(nodes, page):
    busy(nodes)
    eventually(lambda: rows(page, "cluster-nodes")[0].get("level") == "overload", 30, "it is known to be full")
    overview = seen(page)
    assert overview[:2] == ["State of the node", "Cluster"]
    chooser = page.one("#cluster-node")
    assert Select(chooser).first_selected_option.text == A
    chooser.send_keys(Keys.ARROW_DOWN)
    eventually(lambda: page.run("return location.hash") == address("node", B), what="the keyboard has chosen")
    assert page.run("return document.activeElement.id") == "drill-title"
    verdict(page, "1 of ", 30)
    assert page.text("#drill-title") == B and page.text("#drill-level") == "overload"
    assert lines(page)["state"].startswith("It is fresh: heard ")
    said = {"role": "work", "level": "overload", "depth": "10", "limit": "10", "owners": "1", "refused": "3"}
    assert by_role(page, "node-roles")["work"] == said and rows(page, "node-roles")[0] == said
    assert seen(page) == ["State of the node", B, "Cluster", "The node", "Its roles", "Components",
                          "Depth against limit", "Refusals"]
    page.browser.back()
    eventually(lambda: seen(page) == overview, what="all is shown again")
    page.one("#cluster-nodes tbody a").send_keys(Keys.ENTER)
    eventually(lambda: page.run("return location.hash") == address("node", B), what="the link was followed")
    verdict(page, "1 of ")
    # As a link that is opened for the first time.
    page.browser.refresh()
    verdict(page, "1 of ", 30)
    go(page, address("node", A))
    verdict(page, "Nothing presses it")
    go(page, address("node", "c@127.0.0.4"))
    verdict(page, "c@127.0.0.4 is unknown: it was never heard here, or not for an hour.")
    # A role is looked at without them.
    go(page, address("role", "work"))
    eventually(lambda: "Cluster" not in seen(page), what="the role alone is shown")


PANEL = """
    const panels = [...document.querySelectorAll('#panels li')];
    const panel = panels.find((each) => each.querySelector('h3').textContent === 'work');
    const [times, fullest] = panel?.lastChild.chart?.data ?? [[], []];
    return times.map((at, i) => [at * 1000, fullest[i]]);
"""


def test_the_charts_of_another_node_begin_full(nodes, page):
    busy(nodes)
    past = lambda: [row for row in nodes[1].get("/api/history").json()["roles"] if row["role"] == "work"]
    eventually(lambda: past() and past()[0]["fullest"].count(10) >= 5, 30, "some seconds are recorded there")
    # It is said how often it is asked, and which node each chart is of.
    opened_ms = time.time() * 1_000
    go(page, address("node", B))
    eventually(lambda: any(at < opened_ms - 3_000 and value == 10 for at, value in page.run(PANEL)), 20,
               "the chart has what was before")
    assert not page.one("#queues-role").is_displayed()
    assert re.fullmatch(r"asked every \d+\u202fs", page.text("#drill-every"))
    # It goes on, in order and in one line, and what was is not asked for again.
    end = page.run(PANEL)[-1][0]
    eventually(lambda: page.run(PANEL)[-1][0] > end, 30, "it goes on")
    drawn = page.run(PANEL)
    assert [at for at, _ in drawn] == sorted({at for at, _ in drawn})
    assert drawn[-1][1] == 10 and None not in [value for at, value in drawn if at > opened_ms]
    asked = page.run("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert len([url for url in asked if "api/history?node=" in url]) == 1
    assert "3 in total" in page.text("#refusals-note")
    # The page's own node has its own again.
    go(page, address("node", A))
    eventually(lambda: page.run(PANEL)[-1][1] == 2, 20, "it is drawn")
    assert page.one("#queues-role").is_displayed()


def test_a_node_without_history_says_so(nodes, page):
    nodes[1].eval("ok = application:set_env(erlmcp_native, history, false), ok = erlmcp_native_app:reload_config()")
    go(page, address("node", B))
    eventually(lambda: lines(page).get("history") == "no history is kept, or erlmcp_queue_limits is not started", 20,
               "it is said")
    assert page.text("#drill-level") == "ok"


def test_a_node_that_is_missing_is_said_to_be(nodes, page):
    busy(nodes)
    eventually(lambda: sums(page).get("work", {}).get("nodes") == "2", 30, "both are in the sum")
    go(page, address("node", B))
    nodes[1].process.kill()
    verdict(page, "It is stale: not heard for ", 30)
    assert "it is not asked" in page.text("#drill-verdict")
    assert by_role(page, "node-roles")["work"]["level"] == "was overload"
    words = "It is stale and not asked, so nothing is drawn."
    assert page.text("#panels-empty") == words and page.text("#refusals + .empty") == words
    page.browser.back()
    eventually(lambda: states(page) == {B: "stale", A: "fresh, this one"}, what="it is the first")
    assert page.text("#cluster-said") == "1 node is fresh; 1 of 2 that are expected is not heard, 1 stale."
    eventually(lambda: sums(page)["work"]["nodes"] == "1", 20, "it is in no sum")
    assert sums(page)["work"]["depth"] == "2"
    eventually(lambda: states(page)[B] == "gone", 60, "it is gone")
    go(page, address("node", B))
    verdict(page, "It is gone: not heard for ")


def test_without_a_cluster_nothing_is_asked_or_shown(node, browser):
    page = Page(node, browser)
    go(page, address("node", node.get("/api/summary").json()["node"]))
    assert not page.one("#cluster").is_displayed() and "Cluster" not in seen(page)
    asked = page.run("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert not [url for url in asked if "api/cluster" in url] and browser.console() == []
    # It comes and goes with the configuration.
    node.eval(f"ok = application:set_env(erlmcp_native, cluster, {CLUSTER}), ok = erlmcp_native_app:reload_config()")
    eventually(lambda: page.one("#cluster").is_displayed(), 20, "it is there")
    node.eval("ok = application:unset_env(erlmcp_native, cluster), ok = erlmcp_native_app:reload_config()")
    eventually(lambda: not page.one("#cluster").is_displayed(), 20, "it is gone")
    assert [line for line in browser.console() if "/api/cluster " not in line] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_for_everybody(nodes, page, scheme):
    busy(nodes)
    eventually(lambda: sums(page).get("work", {}).get("depth") == "12", 30, "both are in the sum")
    page.scheme(scheme)
    page.run(AXE)
    looked_at = {"all": None, "other": B, "own": A, "unknown": "nobody@127.0.0.9", "gone": B}
    for view, name in looked_at.items():
        if view == "gone":
            nodes[1].process.kill()
        if name:
            go(page, address("node", name))
        if view == "gone":
            verdict(page, "It is ")
            eventually(lambda: states(page)[B] != "fresh", 30, "it is not heard")
        for width in WIDTHS:
            page.size(width, 740)
            eventually(lambda: page.run("return innerWidth") == width, what="it has that width")
            fits(page)
        assert page.browser.execute_async_script(VIOLATIONS) == [], view
        least, where = page.run(CONTRAST)
        assert least >= 4.5, (view, where)
