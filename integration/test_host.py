"""That the harness does what the other tests build on."""

import subprocess

import pytest

from harness.node import ErlangError
from harness.programs import session, tool
from harness.waiting import eventually


def test_what_a_node_counts_is_seen(node):
    assert node.eval("[erlmcp_queue_limits:record_enqueue(session, a) || _ <- [1, 2, 3]]") == ["ok"] * 3
    stats = node.eval("erlmcp_queue_limits:get_role_stats(session)")
    assert (stats["current_depth"], stats["total_enqueued"], stats["owners"]) == (3, 3, 1)


@pytest.mark.node(queue_limits="#{session => 1}", supervise="true")
def test_a_node_has_the_environment_that_the_test_asks_for(node):
    assert node.eval("erlmcp_queue_limits:get_limit(session)") == 1


def test_an_expression_that_fails_is_an_error_and_not_the_end(node):
    with pytest.raises(ErlangError, match="bad argument"):
        node.eval("erlmcp_queue_limits:set_limit(session, -1)")
    with pytest.raises(ErlangError, match="syntax error"):
        node.eval("1 +")
    assert node.eval('logger:error("to the log"), {1, "a", <<"\\x{65e5}"/utf8>>, [a | b]}') == [1, [97], "日", "[a|b]"]


def test_a_node_ends_with_its_input(node):
    node.process.stdin.close()
    assert node.process.wait(10) == 0
    eventually(lambda: not list(session(node.process.pid)), what="its processes are gone")


def test_a_node_that_does_not_start_says_why(start_node):
    with pytest.raises(ErlangError, match="queue_limits_enabled"):
        start_node(queue_limits_enabled="maybe_so")


def test_promtool_judges_metrics():
    def check(text: str) -> int:
        return subprocess.run([tool("PROMTOOL"), "check", "metrics"], input=text, text=True, timeout=30,
                              capture_output=True).returncode

    assert check("# HELP a_total A.\n# TYPE a_total counter\na_total 1\n") == 0
    assert check("a_total 1 1 1\n") != 0


def test_prometheus_scrapes_every_second(serve, start_prometheus):
    pages = serve({"/metrics": ("text/plain; version=0.0.4", '# TYPE depth gauge\ndepth{role="session"} 7\n')})
    prometheus = start_prometheus(pages.address)
    prometheus.scraped()
    ((labels, value),) = eventually(lambda: prometheus.query("depth"), what="the sample is stored")
    assert (labels["__name__"], labels["role"], labels["job"], value) == ("depth", "session", "erlmcp", 7)
    eventually(lambda: prometheus.query("count_over_time(depth[1m]) >= 3"), what="more scrapes")


def test_prometheus_says_why_a_scrape_fails(serve, start_prometheus):
    prometheus = start_prometheus(serve({}).address)
    assert "404" in eventually(lambda: prometheus.target()["lastError"])


PAGE = """<!doctype html>
<meta charset="utf-8"><title>Harness</title><link rel="icon" href="data:,">
<h1>Queues of erlmcp</h1>
<p style="font: 40px sans-serif">
<span id="w">W</span> <span id="i">i</span> <span id="a">ä</span> <span id="le">≤</span></p>
<script>document.querySelector("h1").style.color = "navy"; console.warn("seen", 42); missing();</script>
"""


def test_the_browser_renders_a_page_with_fonts(serve, browser, tmp_path):
    address = serve({"/": ("text/html", PAGE)}).address
    browser.get(f"http://{address}/")
    assert browser.title == "Harness"
    assert browser.save_screenshot(str(tmp_path / "page.png"))
    glyphs = {name: browser.find_element("id", name) for name in ("w", "i", "a", "le")}
    assert glyphs["w"].size["width"] > 2 * glyphs["i"].size["width"] > 0
    assert len({glyph.screenshot_as_base64 for glyph in glyphs.values()}) == len(glyphs)
    console = browser.console()
    assert any('"seen" 42' in line for line in console)
    assert any("missing is not defined" in line for line in console)


def test_the_browser_reaches_nothing_but_this_machine(serve, browser):
    address = serve({"/": ("text/html", "<title>Here</title>")}).address
    browser.get(f"http://{address}/")
    assert browser.execute_async_script(
        "const done = arguments[0]; fetch('http://192.0.2.1/').then(r => done(r.status), e => done(String(e)))"
    ) == "TypeError: Failed to fetch"
    assert any("ERR_NAME_NOT_RESOLVED" in line for line in browser.console())
