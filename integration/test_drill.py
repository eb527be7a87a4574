"""From the verdict to the process: what the address after the # shows."""

import importlib.resources
import re
import urllib.parse

import pytest
from selenium.webdriver.support.ui import Select

from harness.waiting import eventually
from test_page import CONTRAST, Page, busy, check_health, enqueue, fits, limit, refuse

WIDTHS = (360, 512, 1024, 1280)


@pytest.fixture
def page(node, browser):
    page = Page(node, browser)
    yield page
    # What is asked for and not there is answered with 400, of which the browser writes a line.
    assert [line for line in browser.console() if "status of 400" not in line] == []


def address(kind, value, **more):
    return "#" + urllib.parse.urlencode({kind: value} | more, quote_via=urllib.parse.quote)


def go(page, to):
    """Follows a link, as one that a colleague sent, and waits for what the node says."""
    page.run("performance.clearMarks('drill-data'); location.hash = arguments[0]", to)
    eventually(lambda: page.run("return performance.getEntriesByName('drill-data').length > 0"), 30, "data are there")


def lines(page):
    """What stands below the verdict, by name."""
    return dict(page.run("""return [...document.querySelectorAll('#drill-lines > div')]
                            .map(({children: [name, words]}) => [name.textContent, words.textContent])"""))


def rows(page, table):
    """The cells of a table by their fields, row by row."""
    return [{field: text for field, text in row.items() if text is not None} for row in page.rows(table)]


def seen(page):
    """The headings of what is shown."""
    return page.run("""return [...document.querySelectorAll('main > section:not([hidden]) h2')]
                       .map(({textContent}) => textContent)""")


def verdict(page, words, seconds=20):
    eventually(lambda: words in page.text("#drill-verdict"), seconds, words)


def start(node, label):
    """The identifier of a process that has a label, and waits."""
    return node.eval(f"""
        Pid = proc_lib:spawn(fun() -> proc_lib:set_label({label}), receive stop -> ok end end), pid_to_list(Pid)""")


def text_of(codes):
    return "".join(map(chr, codes))


def test_a_role_is_shown_with_its_owners_and_why_it_refuses(node, page):
    busy(node)
    page.busy()
    node.eval("erlmcp_queue_limits:set_reserve(tool_executor, #{sheddable => 50})")
    overview = seen(page)
    assert "Ten fullest owners" in overview and "Owners" not in overview
    page.one("#roles tr[data-role=tool_executor] a").click()
    verdict(page, "tool_executor refuses what comes for a full owner: the fullest has 500 of 500")
    assert page.run("return location.hash") == "#role=tool_executor"
    assert page.run("return document.activeElement.id") == "drill-title"
    assert seen(page) == ["State of the node", "tool_executor", "Owners", "Refused, and why", "Its alerts",
                          "Its time at each level", "Depth against limit"]
    assert "tool_executor" in eventually(lambda: "tool_executor" in page.browser.title and page.browser.title)
    said = lines(page)
    assert said["reasons"] == "1042 critical (full)" and "sheddable may not use 50 %" in said["reserve"]
    assert rows(page, "role-refusals") == [{"class": "critical", "why": "its owner was full", "refused": "1\u202f042"}]
    assert [row["process"] for row in rows(page, "role-owners")] == ["executor_1", "executor_2"]
    assert page.text("#role-owners-note") == "2 owners"
    assert {row["level"] for row in rows(page, "role-alerts")} == {"warning", "critical", "overload"}
    # Found by a part of the name, and in another order.
    page.one("#role-text").send_keys("OR_2")
    eventually(lambda: [row["process"] for row in rows(page, "role-owners")] == ["executor_2"], 20, "the one is found")
    assert page.text("#role-owners-note") == "1 of 2"
    page.one("#role-text").clear()
    page.one("#role-text").send_keys(" ")
    Select(page.one("#role-by")).select_by_value("stalled")
    eventually(lambda: len(rows(page, "role-owners")) == 2, 20, "both are there again")
    page.browser.back()
    eventually(lambda: seen(page) == overview, what="all is shown again")
    page.browser.forward()
    verdict(page, "tool_executor refuses")
    # As a link that is opened for the first time.
    page.browser.refresh()
    verdict(page, "tool_executor refuses")
    page.one("#drill-back").click()
    eventually(lambda: seen(page) == overview, what="all is shown again")


def test_the_node_is_asked_as_seldom_as_it_costs(node, page):
    assert page.module("""
        const { pause } = await import(new URL('page/pace.js', document.baseURI));
        return [[10, 500], [500, 500], [9000, 500], [10, 3000], [10, 1e7], [10, 1e7, 15000], [1e7, 1e7]]
          .map((each) => pause(...each));""") == [2000, 5000, 15000, 6000, 60000, 15000, 60000]
    limit(node, "work", 1000)
    node.eval("""
        [erlmcp_queue_limits:record_enqueue(work, list_to_atom("owner_" ++ integer_to_list(N))) ||
            N <- lists:seq(1, 120), _ <- lists:seq(1, N)], ok""")
    eventually(lambda: page.role("work"), 20, "the role is there")
    go(page, address("role", "work"))
    eventually(lambda: len(rows(page, "role-owners")) == 100, 20, "the first hundred are there")
    every = int(re.fullmatch(r"asked every (\d+)\u202fs", page.text("#drill-every")).group(1))
    sizes = page.run("""return ['api/why', 'api/queues?role'].map((url) => performance.getEntriesByType('resource')
                        .filter(({name}) => name.includes(url)).at(-1).encodedBodySize)""")
    assert 0 < sum(sizes) / every * 3600 < 2_500_000, (sizes, every)


def test_an_owner_leads_to_its_process_until_that_ends(node, page):
    pid = text_of(start(node, "{session, 4711}"))
    limit(node, "session", 5)
    enqueue(node, "session", f'(list_to_pid("{pid}"))', 4)
    eventually(lambda: [row["process"] for row in rows(page, "owners")] == [pid], 30, "the owner is there")
    page.one("#owners tbody a").click()
    verdict(page, f"{pid}: it is alive, and waits for messages.")
    assert page.run("return location.hash") == address("owner", pid, role="session")
    field = lambda name: page.text(f"#owner-process [data-field={name}]")
    assert field("label") == "{session,4711}" and field("message_queue_len") == "0"
    assert "proc_lib:init_p" in page.text("#owner-stack")
    assert [(row["role"], row["depth"]) for row in rows(page, "owner-queues")] == [("session", "4 of 5")]
    assert lines(page)["verdict"] == f"{pid} in session has room for 1: it has 4 of 5"
    node.eval(f'exit(list_to_pid("{pid}"), kill)')
    verdict(page, "it has ended, and holds nothing any more")
    assert not page.one("#owner-process").is_displayed()
    page.browser.refresh()
    verdict(page, "it has ended")
    for owner, words in (("erlmcp_queue_limits", "it is a name, and that of the process"),
                         ("no_such_owner_ever", "nobody here has the name no_such_owner_ever"),
                         ("<7.90.0>", "it is a process of another node"),
                         ("<0.90.0><script>", "nobody here has the name <0.90.0><script>")):
        go(page, address("owner", owner))
        verdict(page, words)
        assert page.text("#drill-title") == owner


def test_a_component_says_of_what_its_handler_failed(node, page):
    check_health(node, "server", 30)
    node.eval("ok = erlmcp_control_plane:register_component(broken, fun(_) -> error({no_route, to_host}) end),"
              " [{error, _} = erlmcp_control_plane:send_health_check(broken, full) || _ <- lists:seq(1, 7)], ok")
    name = node.get("/api/summary").json()["node"]
    eventually(lambda: page.text("#node") == name, what="the node has its name")
    page.one("#node").click()
    eventually(lambda: {row["component"] for row in rows(page, "node-components")} == {"server", "broken"}, 30,
               "the components are there")
    assert page.text("#drill-verdict") == "Nothing presses it: it refuses by limits alone."
    page.run("[...document.querySelectorAll('#node-components a')].find((a) => a.textContent === 'broken').click()")
    verdict(page, "Its handler failed 7 times; the last 5 are below.")
    assert page.run("return location.hash") == "#component=broken"
    assert page.text("#component-stats [data-field=crashes]") == "7"
    errors = rows(page, "component-errors")
    assert len(errors) == 5 and all("raised {error,{no_route,to_host}}" in row["reason"] for row in errors)
    go(page, address("component", "unheard_of"))
    verdict(page, "there is no component unheard_of")
    go(page, address("node", "other@host"))
    verdict(page, "ask other@host for its own")
    go(page, address("role", "unheard_of"))
    verdict(page, "there is no role unheard_of")


def test_every_state_is_said_in_words(node, page):
    limit(node, "closed_role", 0)
    refuse(node, "closed_role", "a", 3)
    limit(node, "work", 10)
    node.eval("ok = erlmcp_queue_limits:set_reserve(work, #{sheddable => 50})")
    enqueue(node, "work", "a", 6)
    node.eval("{error, _} = erlmcp_queue_limits:try_enqueue(work, a, #{class => sheddable}), ok")
    eventually(lambda: page.role("closed_role") and page.role("work"), 20, "the roles are there")
    go(page, address("role", "closed_role"))
    verdict(page, "closed_role refuses everything: its limit is 0")
    assert page.text("#drill-level") == "closed"
    go(page, address("role", "work"))
    eventually(lambda: {"class": "sheddable", "why": "the rest of the limit is kept for higher classes", "refused": "1"}
               in rows(page, "role-refusals"), 20, "a class was refused")
    guard = "ok = application:set_env(erlmcp_native, node, %s), ok = erlmcp_native_app:reload_config()"
    node.eval(guard % "#{memory_limit => 1048576}")
    eventually(lambda: "refuses" in lines(page).get("node", ""), 30, "the node is pressed")
    node.eval("{error, _} = erlmcp_queue_limits:try_enqueue(work, a), ok")
    eventually(lambda: "the node was pressed, by memory or by its run queue" in page.text("#role-refusals"), 20,
               "it was refused for that")
    node.eval(guard % "off")
    # Who stands still is told from who is slow.
    assert page.module("""
        const { progress } = await import(new URL('page/view_role.js', document.baseURI));
        const owner = {kind: 'counted', depth: 5, wait_ms: 1500, drain_per_s: 3.5, stalled_ms: 200};
        return [owner, {...owner, stalled_ms: 90000}, {...owner, wait_ms: null}, {...owner, depth: 0},
                {...owner, kind: 'mailbox'}].map((each) => progress(each));""") == [
        ["one that comes waits 1.5\u202fs; 3.5/s leave", False],
        ["stuck: nobody was taken out for 1\u202fmin 30\u202fs", True],
        ["drains, how fast is not known yet", False],
        ["nothing waits", False],
        ["its mailbox, as long as it is", False]]


LONG_ROLE = "Elixir.Shop.Warehouse.Fulfilment.International.Checkout.PaymentSessionWorker"
NAMES = """
  const real = window.fetch;
  window.fetch = async (url, ...rest) => {
    const answer = await real(url, ...rest);
    if (!String(url).startsWith('api/queues')) return answer;
    const said = await answer.json();
    for (const [i, row] of said.queues.entries()) row.process = `<0.${1234567 + i}.${12345}>`;
    return new Response(JSON.stringify(said), {status: answer.status, headers: {'content-type': 'application/json'}});
  };
"""


def test_long_names_keep_their_end_and_identifiers_are_in_one_piece(node, page):
    limit(node, f"'{LONG_ROLE}'", 7)
    enqueue(node, f"'{LONG_ROLE}'", "a", 6)
    enqueue(node, f"'{LONG_ROLE}'", "b", 5)
    eventually(lambda: page.role(LONG_ROLE), 20, "the role is there")
    shown = page.text(f"#roles tr[data-role='{LONG_ROLE}'] a")
    assert shown.startswith("Elixir.") and shown.endswith(".PaymentSessionWorker") and len(shown) == 40
    page.run(NAMES)
    go(page, address("role", LONG_ROLE))
    assert page.text("#drill-title") == LONG_ROLE
    owners = ["<0.1234567.12345>", "<0.1234568.12345>"]
    eventually(lambda: [row["process"] for row in rows(page, "role-owners")] == owners, 20, "they are there")
    for width in WIDTHS:
        page.size(width, 740)
        fits(page)
        assert page.run("""return [...document.querySelectorAll('#role-owners a')].every((link) =>
                           link.getClientRects().length === 1)"""), width


AXE = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text()
VIOLATIONS = """
  const done = arguments[arguments.length - 1];
  axe.run(document, {resultTypes: ['violations']}).then(({violations}) => done(violations.map(({id, nodes}) =>
    `${id}: ${nodes.slice(0, 3).map(({html}) => html.slice(0, 200)).join(' | ')}`)), (error) => done([String(error)]));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_views_are_for_everybody(node, page, scheme):
    busy(node)
    page.busy()
    page.scheme(scheme)
    pid = text_of(start(node, "{session, 1}"))
    enqueue(node, "session", f'(list_to_pid("{pid}"))', 3)
    node.eval("ok = erlmcp_control_plane:register_component(broken, fun(_) -> error(no_route) end),"
              " {error, _} = erlmcp_control_plane:send_health_check(broken, full), ok")
    name = node.get("/api/summary").json()["node"]
    page.run(AXE)
    views = {"role": address("role", "tool_executor"), "owner": address("owner", pid, role="session"),
             "component": address("component", "broken"), "node": address("node", name), "all": "#"}
    for view, to in views.items():
        if view == "all":
            page.run("location.hash = ''")
        else:
            go(page, to)
        for width in WIDTHS:
            page.size(width, 740)
            eventually(lambda: page.run("return innerWidth") == width, what="it has that width")
            fits(page)
        assert page.browser.execute_async_script(VIOLATIONS) == [], view
        least, where = page.run(CONTRAST)
        assert least >= 4.5, (view, where)


def test_it_does_not_move_for_whom_movement_is_reduced(node, page):
    page.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    busy(node)
    page.busy()
    assert page.run("""return [...document.querySelectorAll('body *')].filter((element) => {
        const style = getComputedStyle(element);
        return parseFloat(style.transitionDuration) > 0 || style.animationName !== 'none' ||
          style.scrollBehavior === 'smooth';
      }).map((element) => element.outerHTML.slice(0, 120))""") == []
