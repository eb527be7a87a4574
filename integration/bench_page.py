"""How quick the page is beside a million owners, and what it costs the node: `make bench-page`.

Two nodes, one after the other, each with 50 roles and a million owners: of the first each role has 20,000, of the
second one role has all but 50. A browser on the same machine clicks. `BENCH_QUICK=1` is for trying the benchmark.

A missed target is a result, and no failure.
"""

import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from harness.browser import Browser
from harness.node import Node
from harness.waiting import eventually

QUICK = bool(os.environ.get("BENCH_QUICK"))
OWNERS = 20_000 if QUICK else 1_000_000
ROLES = 50
LOADS = 3 if QUICK else 11
CLICKS = 10 if QUICK else 50
ROUNDS = 2 if QUICK else 7
ROUND_MS = 500 if QUICK else 2_000
WIRE_MS = 5_000 if QUICK else 30_000
HOUR_MS = 3_600_000
#: What was looked for is kept by the node for a tenth of a second.
PAUSE_S = 0.2

#: From the click on the role's link until its owners stand there and are painted.
CLICK = """
  const [role, done] = arguments;
  const link = document.querySelector(`#roles tr[data-role="${role}"] a`);
  performance.clearMarks('drill-data');
  const began = performance.now();
  link.click();
  const look = () => {
    const [mark] = performance.getEntriesByName('drill-data');
    if (mark && document.querySelector('#role-owners tbody [data-field=depth]')) done(mark.startTime - began);
    else requestAnimationFrame(look);
  };
  look();
"""
#: How long the browser waited for each of the two answers.
ASKED = """
  return performance.getEntriesByType('resource').filter(({name}) => /api\\/(why|queues\\?role)/.test(name))
    .map(({name, duration}) => ({name: name.includes('why') ? 'why' : 'owners', ms: duration}));
"""


def roles() -> list[str]:
    return [f"bench_role_{i}" for i in range(ROLES)]


class Bench:
    """A page of a node that has so many owners in these roles."""

    def __init__(self, folder: Path, browser: Browser, stack: ExitStack):
        self.browser = browser
        self.asked: list[dict] = []
        self.node = Node(folder / "node.log", profile="integration+bench")
        stack.callback(self.node.stop)
        self.node.start({"http": "#{port => 0}"})

    def fill(self, names: list[str], owners: int) -> None:
        self.node.eval(f"erlmcp_native_bench_page:fill([{', '.join(names)}], {owners})", 300)

    def mark(self, name: str) -> float:
        script = f"return performance.getEntriesByName('{name}')[0]?.startTime"
        return eventually(lambda: self.browser.execute_script(script), 60, f"the page has marked {name}")

    def load(self, to: str, mark: str) -> float:
        """Milliseconds from nothing until data are painted."""
        self.browser.get("about:blank")
        self.browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        self.browser.get(self.node.url("/" + to))
        return self.mark(mark)

    def overview(self) -> None:
        """Shows all roles."""
        self.load("", "first-data")
        script = ("document.getElementById('roles-more').click();"
                  "return document.querySelectorAll('#roles tr[data-role]').length")
        eventually(lambda: self.browser.execute_script(script) >= ROLES, 60, "all roles are shown")

    def click(self, role: str) -> float:
        """Milliseconds from the click until the owners are painted; then all roles are shown again."""
        self.browser.execute_script("performance.clearResourceTimings()")
        taken = self.browser.execute_async_script(CLICK, role)
        self.asked += self.browser.execute_script(ASKED)
        self.browser.execute_script("location.hash = ''")
        time.sleep(PAUSE_S)
        return taken

    def admissions(self, meanwhile) -> dict[str, float]:
        """What the node says of a loop of admissions; meanwhile something is done over and over."""
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(self.node.eval, f"erlmcp_native_bench_page:admit({ROUND_MS})", 60)
            while not result.done():
                meanwhile()
            return result.result()

    def wire(self, names: list[str]) -> float:
        """Megabytes an hour of all connections."""
        self.node.eval(f"erlmcp_native_bench_page:traffic([{', '.join(names)}], {WIRE_MS + 1000})")
        sent = self.node.eval(f"erlmcp_native_bench_page:sent({WIRE_MS})", WIRE_MS / 1000 + 30)
        return sent * HOUR_MS / WIRE_MS / 1e6


def say(name: str, times: list[float], target: float | None = None) -> None:
    middle, late = statistics.median(times), sorted(times)[len(times) * 95 // 100]
    met = "" if target is None else f"  < {target:.0f} ms: {'met' if middle < target else 'MISSED'}"
    print(f"{name:52} {middle:5.0f} ms, p95 {late:5.0f} ms of {len(times)}{met}", flush=True)


def load() -> str:
    return "load " + " ".join(f"{each:.1f}" for each in os.getloadavg())


def slower(name: str, rounds: list[tuple[dict, dict]]) -> None:
    """By how much what stands second in each round is slower than what stands first."""
    ns = statistics.median(b["ns"] / a["ns"] for a, b in rounds)
    per_s = statistics.median(b["per_s"] / a["per_s"] for a, b in rounds)
    met = "met" if ns <= 1.05 else "MISSED"
    print(f"{name:52} {ns:5.3f} x the time, {per_s:.3f} x as many a second  <= 1.05 x: {met}", flush=True)


def clicks(bench: Bench, names: list[str], words: str) -> None:
    bench.asked = []
    say(f"a click on a role, {words}", [bench.click(names[i % len(names)]) for i in range(CLICKS)], 300)
    for what in ("why", "owners"):
        say(f"  of which the browser waited for {what}", [each["ms"] for each in bench.asked if each["name"] == what])


def admissions(bench: Bench, names: list[str], words: str) -> None:
    """Without clicks, with clicks on a role of one owner, and with clicks on these, in turns.

    The time of one is that of a loop which was not interrupted. How many there are a second says, too, what the browser
    has of the two cores; what the owners have of that is the difference between the two kinds of clicks.
    """
    turn = iter(range(10**9))
    nothing = lambda: time.sleep(0.05)
    many = lambda: bench.click(names[next(turn) % len(names)])
    few = lambda: bench.click("bench_few")
    rounds = [[bench.admissions(each) for each in (nothing, few, many)] for _ in range(ROUNDS)]
    slower(f"admissions beside clicks, {words}", [(a, c) for a, _, c in rounds])
    slower("  by those beside clicks on a role of one owner", [(b, c) for _, b, c in rounds])


def main() -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {load()}; {ROLES} roles, {OWNERS} owners")
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        browser = Browser(Path(folder) / "browser")
        stack.callback(browser.quit)
        names = roles()
        with ExitStack() as first:
            (even := Path(folder) / "even").mkdir()
            bench = Bench(even, browser, first)
            bench.fill(["bench_few"], 1)
            bench.fill(names, OWNERS)
            print(f"\n{OWNERS // ROLES} owners a role, {load()}")
            say("first paint with data, all roles", [bench.load("", "first-data") for _ in range(LOADS)], 1000)
            say("first paint with data, a role by its address",
                [bench.load(f"?{i}#role={names[i]}", "drill-data") for i in range(LOADS)], 1000)
            bench.overview()
            clicks(bench, names, f"{OWNERS // ROLES} owners")
            admissions(bench, names, f"{OWNERS // ROLES} owners")
            for what, to in (("all roles", ""), ("a role", f"#role={names[1]}")):
                bench.load(to, "drill-data" if to else "first-data")
                size = bench.wire(names)
                met = "met" if size <= 10 else "MISSED"
                print(f"{f'an hour over the wire, {what}':52} {size:5.1f} MB, by {WIRE_MS // 1000} s  <= 10 MB: {met}",
                      flush=True)
            browser.get("about:blank")
        with ExitStack() as second:
            (one := Path(folder) / "one").mkdir()
            bench = Bench(one, browser, second)
            bench.fill(["bench_few"], 1)
            bench.fill(names, ROLES)
            bench.fill(names[:1], OWNERS)
            print(f"\n{OWNERS} owners in one of the roles, {load()}")
            bench.overview()
            clicks(bench, names[:1], f"{OWNERS} owners")
            admissions(bench, names[:1], f"{OWNERS} owners")
            browser.get("about:blank")
    print(f"\n{load()}")


if __name__ == "__main__":
    sys.exit(main())
