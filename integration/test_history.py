"""What it was like before the page was opened."""

import json
import time

import pytest

from harness.waiting import eventually

FILL = "length([erlmcp_queue_limits:record_enqueue({role}, filler) || _ <- lists:seq(1, {times})])"
REFUSED = "length([erlmcp_queue_limits:try_enqueue({role}, filler) || _ <- lists:seq(1, {times})])"


@pytest.fixture
def loaded(node):
    """A node on which something waited and was refused for some seconds, with nobody looking."""
    node.eval("erlmcp_queue_limits:set_limit(past_role, 20)")
    node.eval(FILL.format(role="past_role", times=17))
    eventually(lambda: known(node, "past_role") >= 5, 30, "some seconds are recorded")
    node.eval(REFUSED.format(role="past_role", times=10))
    eventually(lambda: any(value for value in history(node)["node"]["refused_per_s"]), 30, "refusals are recorded")
    return node


def history(node, query=""):
    answer = node.get("/api/history" + query)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def known(node, role):
    rows = [row for row in history(node)["roles"] if row["role"] == role]
    return sum(value is not None for row in rows for value in row["fullest"])


def test_charts_begin_full(loaded, browser):
    opened_ms = time.time() * 1_000
    browser.get(loaded.url("/"))
    drawn = """
        const chart = [...document.querySelectorAll('#panels .chart')].find((host) =>
          host.closest('li').textContent.includes('past_role'));
        const [times, fullest] = chart?.chart?.data ?? [[], []];
        return times.map((at, i) => [at * 1000, fullest[i]]);
    """
    eventually(lambda: any(at < opened_ms - 3_000 and value == 17 for at, value in browser.execute_script(drawn)),
               20, "the chart has what was before")
    # Live samples go on behind it, in order and without a second time.
    eventually(lambda: any(at > opened_ms for at, _ in browser.execute_script(drawn)), 20, "it goes on")
    times = [at for at, _ in browser.execute_script(drawn)]
    assert times == sorted(times) and len(times) == len(set(times))


def test_seconds_and_minutes_end_now(loaded):
    for span, step_ms, points in (("10m", 1_000, 600), ("24h", 60_000, 1_440)):
        answer = history(loaded, f"?span={span}&role=past_role")
        assert (answer["step_ms"], answer["points"]) == (step_ms, points)
        assert 0 <= answer["at_ms"] - answer["to_ms"] <= step_ms
        row, = answer["roles"]
        assert all(len(row[field]) == points for field in ("fullest", "refused_per_s", "max_wait_ms"))
        assert max(value for value in row["fullest"] if value is not None) in (17, 20)
        # Nobody was there a day ago, nor ten minutes.
        assert row["fullest"][0] is None and answer["node"]["refused_per_s"][0] is None
