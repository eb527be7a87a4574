"""The pictures of the page in the documents: small, and of the page as it is. `make pictures` makes them."""

import hashlib
import io
import os
import socket

import pytest
from PIL import Image

from harness.programs import ROOT
from harness.waiting import eventually
from test_drill import address, go, rows, verdict
from test_page import Page

IMAGES = ROOT / "docs" / "images"
SUMS = IMAGES / "page.sha256"
SIZE = (1280, 900)
MOST_BYTES = 60_000
#: Each with the colour scheme that it shows, and the documents that show it.
PICTURES = {"page.png": ("dark", ["README.md"]), "role.png": ("light", ["README.md", "docs/operating.md"])}
DRIVEN_S = 80

#: A tool server whose first executor does not keep up. A tick takes a tenth of a second.
DRIVE = """
    [ok = erlmcp_queue_limits:set_limit(Role, Limit) || {Role, Limit} <- [
        {session, 10000}, {task_worker, 1000}, {tool_executor, 500}, {transport, 2000}, {sse_stream, 5000}]],
    ok = erlmcp_queue_limits:set_reserve(tool_executor, #{sheddable => 10}),
    ok = erlmcp_overload_rate:define(api, #{rate => {100, second}}),
    ok = erlmcp_control_plane:register_component(server, fun(_) -> ok end),
    To = fun(Role, Owner, Depth) ->
        case Depth - erlmcp_queue_limits:get_queue_depth(Role, Owner) of
            More when More > 0 -> [erlmcp_queue_limits:record_enqueue(Role, Owner) || _ <- lists:seq(1, More)];
            Less -> [erlmcp_queue_limits:record_dequeue(Role, Owner) || _ <- lists:seq(1, -Less)]
        end
    end,
    Wave = fun(Tick, Mean, Swing, Period) -> round(Mean + Swing * math:sin(6.2832 * Tick / Period)) end,
    spawn(fun() -> (fun Drive(Tick) ->
        [erlmcp_queue_limits:record_dequeue(tool_executor, executor_1) || Tick > 9, _ <- lists:seq(0, Tick rem 3)],
        erlmcp_queue_limits:try_enqueue(tool_executor, executor_1, #{class => sheddable}),
        [erlmcp_queue_limits:try_enqueue(tool_executor, executor_1) || _ <- lists:seq(1, 4)],
        [erlmcp_queue_limits:record_dequeue(session, session_1) || _ <- lists:seq(1, 30)],
        [To(Role, Owner, Wave(Tick, Mean, Swing, Period)) || {Role, Owner, Mean, Swing, Period} <- [
            {tool_executor, executor_2, 130, 60, 90}, {tool_executor, executor_3, 60, 30, 70},
            {task_worker, worker_1, 640, 190, 420}, {task_worker, worker_2, 150, 90, 150},
            {session, session_1, 4200, 900, 260}, {session, session_2, 800, 300, 190},
            {transport, socket_1, 900, 260, 310}, {sse_stream, stream_1, 350, 300, 240}]],
        [erlmcp_overload_rate:take(api, client) || _ <- lists:seq(1, 4)],
        {ok, _} = erlmcp_control_plane:send_health_check(server, liveness),
        receive after 100 -> Drive(Tick + 1) end
    end)(0) end), ok"""


def sums():
    """A line for each file of the page, as sha256sum writes it."""
    files = sorted(path for path in (ROOT / "priv" / "page").rglob("*") if path.is_file())
    return [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT)}" for path in files]


def write(page, name, scheme):
    """As few colours as make it small enough."""
    page.scheme(scheme)
    page.run("scrollTo(0, 0); document.activeElement.blur()")
    page.browser.execute_async_script("const [done] = arguments; setTimeout(done, 1500)")
    picture = Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("RGB")
    assert picture.size == SIZE
    for colours in (256, 128, 64, 32):
        small = picture.quantize(colours, dither=Image.Dither.NONE)
        small.save(IMAGES / name, optimize=True)
        if (IMAGES / name).stat().st_size <= MOST_BYTES:
            return


if os.environ.get("PICTURES") == "make":

    def test_they_are_made(start_node, browser, monkeypatch):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        monkeypatch.setenv("ERL_FLAGS", f"-name shop@127.0.0.1 -setcookie pictures -start_epmd false"
                                        f" -erl_epmd_port {port} -kernel inet_dist_use_interface {{127,0,0,1}}")
        node = start_node()
        node.eval(DRIVE)
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "UTC"})
        browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        page = Page(node, browser)
        page.size(*SIZE)
        drawn = "return document.querySelector('#refusals-chart').chart.data[0].length"
        eventually(lambda: page.run(drawn) >= DRIVEN_S, 2 * DRIVEN_S, "the charts have enough to show")
        eventually(lambda: "refuses: tool_executor" in page.text("#headline"), 20, "the one refuses")
        write(page, "page.png", PICTURES["page.png"][0])
        go(page, address("role", "tool_executor"))
        verdict(page, "tool_executor refuses")
        eventually(lambda: len(rows(page, "role-owners")) == 3, 20, "the owners are there")
        write(page, "role.png", PICTURES["role.png"][0])
        SUMS.write_text("".join(f"{line}\n" for line in sums()))


def test_they_are_of_this_page():
    made_of = SUMS.read_text().splitlines()
    changed = sorted({line.split()[1] for line in set(made_of) ^ set(sums())})
    assert not changed, f"the pictures in docs/images are of another page: type `make pictures` ({', '.join(changed)})"


@pytest.mark.parametrize("name", PICTURES)
def test_they_are_small_and_shown(name):
    path = IMAGES / name
    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "P", SIZE)
    for document in PICTURES[name][1]:
        text = (ROOT / document).read_text()
        assert f"]({os.path.relpath(path, (ROOT / document).parent)})" in text, document
