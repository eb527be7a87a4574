"""The fixtures of the integration tests. `make integration` runs them, and sees to the programs."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.browser import Browser
from harness.node import Node
from harness.pages import Pages
from harness.programs import ROOT, TOOLS, tail
from harness.prometheus import Prometheus

FAILED = pytest.StashKey[list[pytest.TestReport]]()

#: What every node is configured with, unless the test says otherwise.
NODE_ENV: dict[str, str] = {"http": "#{port => 0}"}


def pytest_configure() -> None:
    missing = [name for name in TOOLS if name not in os.environ]
    if missing:
        raise pytest.UsageError(f"{', '.join(missing)} not set: run `make integration`")
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # fixtures are torn down


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Shows the logs of a failed test's programs, when they have ended."""
    report = yield
    failed = item.stash.setdefault(FAILED, [])
    if report.failed:
        failed.append(report)
    if report.when == "teardown" and failed and "tmp_path" in item.funcargs:
        for log in sorted(item.funcargs["tmp_path"].glob("**/*.log")):
            if "profile" not in log.parts:
                failed[0].sections.append((str(log), tail(log, 40)))
    return report


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """start_node(**env) -> Node, for a test that needs several, or needs to see one start."""
    with ExitStack() as nodes:
        count = iter(range(1, 1000))

        def start(root: Path = ROOT, **env: str) -> Node:
            node = Node(tmp_path / f"node{next(count)}.log", root)
            nodes.callback(node.stop)
            return node.start(NODE_ENV | env)

        yield start


@pytest.fixture
def node(request: pytest.FixtureRequest, start_node: Callable[..., Node]) -> Node:
    """A node on which erlmcp_native is started; @pytest.mark.node(key="value") for its environment."""
    marker = request.node.get_closest_marker("node")
    return start_node(**(marker.kwargs if marker else {}))


@pytest.fixture
def erl_flags() -> Callable[[str], str]:
    """erl_flags("a@127.0.0.2") -> ERL_FLAGS of a node that others can connect to, without epmd: all of a test have one
    port, each on an address of its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    def flags(name: str) -> str:
        ip = name.partition("@")[2].replace(".", ",")
        return (f"-name {name} -setcookie integration -start_epmd false -erl_epmd_port {port}"
                f" -kernel inet_dist_use_interface {{{ip}}}")

    return flags


@pytest.fixture
def start_named(start_node: Callable[..., Node], erl_flags: Callable[[str], str],
                monkeypatch: pytest.MonkeyPatch) -> Callable[..., Node]:
    """start_named("a@127.0.0.2", **env) -> Node, with these flags."""

    def start(name: str, **options) -> Node:
        with monkeypatch.context() as for_this_one:
            for_this_one.setenv("ERL_FLAGS", erl_flags(name))
            return start_node(**options)

    return start


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """start_prometheus("127.0.0.1:80", path="/metrics") -> Prometheus"""
    with ExitStack() as servers:
        count = iter(range(1, 1000))

        def start(target: str, path: str = "/metrics", **options) -> Prometheus:
            server = Prometheus(tmp_path / f"prometheus{next(count)}", target, path, **options)
            servers.callback(server.stop)
            return server

        yield start


@pytest.fixture
def prometheus(node: Node, start_prometheus: Callable[..., Prometheus]) -> Prometheus:
    """A Prometheus that scrapes the node."""
    return start_prometheus(f"127.0.0.1:{node.http_port}")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A session of selenium, with console()."""
    browser = Browser(tmp_path / "browser")
    yield browser
    browser.quit()


@pytest.fixture
def serve() -> Iterator[Callable[..., Pages]]:
    """serve({path: (content type, text)}) -> Pages, which has an address."""
    with ExitStack() as servers:

        def start(pages: dict[str, tuple[str, str]]) -> Pages:
            server = Pages(pages)
            servers.callback(server.stop)
            return server

        yield start
