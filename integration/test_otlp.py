"""What an OpenTelemetry endpoint receives, decoded with the official definitions."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from harness.waiting import eventually

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


class Endpoint:
    """Keeps what is pushed to it, decoded; answers with `status` and `body`."""

    def __init__(self, port: int = 0):
        self.received: list[ExportMetricsServiceRequest] = []
        self.problems: list[str] = []
        self.encodings: set[str | None] = set()
        self.status, self.body = 200, b"{}"
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.take(self.headers, body)
                self.send_response(endpoint.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(endpoint.body)))
                self.end_headers()
                self.wfile.write(endpoint.body)

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, headers, body: bytes) -> None:
        try:
            encoding = headers["content-encoding"]
            self.encodings.add(encoding)
            assert headers["content-type"] == "application/json"
            text = gzip.decompress(body) if encoding == "gzip" else body
            # Unknown fields are an error.
            request = Parse(text, ExportMetricsServiceRequest())
            if self.status == 200:
                self.received.append(request)
        except Exception as problem:  # told by the test, in its own thread
            self.problems.append(repr(problem))

    def latest(self) -> dict[str, Metric]:
        (resource,) = self.received[-1].resource_metrics
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "erlmcp_native"
        return {metric.name: metric for metric in scope.metrics}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert self.problems == []


@pytest.fixture
def start_endpoint() -> Iterator[Callable[..., Endpoint]]:
    with ExitStack() as endpoints:

        def start(port: int = 0) -> Endpoint:
            endpoint = Endpoint(port)
            endpoints.callback(endpoint.stop)
            return endpoint

        yield start


def otlp(port: int) -> str:
    return f'#{{endpoint => "http://127.0.0.1:{port}/v1/metrics", interval_ms => 1000}}'


def labels(point) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in point.attributes}


def point_of(points, **wanted: str):
    (point,) = [point for point in points if labels(point) == wanted]
    return point


def refused(endpoint: Endpoint) -> int:
    points = endpoint.latest()["erlmcp.queue.refused"].sum.data_points
    return sum(point.as_int for point in points if labels(point) == {"role": "work"})


def test_what_is_pushed_is_what_the_node_says(start_endpoint, start_node):
    endpoint = start_endpoint()
    node = start_node(otlp=otlp(endpoint.port))
    node.eval("ok = erlmcp_queue_limits:set_limit(work, 3)")
    node.eval("[erlmcp_queue_limits:try_enqueue(work, a) || _ <- lists:seq(1, 5)]")
    node.eval("erlmcp_control_plane:register_component(server, fun(_) -> ok end)")
    node.eval("[erlmcp_control_plane:send_health_check(server, full) || _ <- lists:seq(1, 20)]")
    node.eval("erlmcp_overload_monitor:force_check()")
    before = len(endpoint.received)
    eventually(lambda: len(endpoint.received) >= before + 2, 15, "pushes")
    metrics = endpoint.latest()

    depth = metrics["erlmcp.queue.depth"]
    assert depth.WhichOneof("data") == "gauge" and depth.unit == ""
    assert point_of(depth.gauge.data_points, role="work").as_int == 3

    enqueued = metrics["erlmcp.queue.enqueued"].sum
    assert enqueued.is_monotonic and enqueued.aggregation_temporality == CUMULATIVE
    point = point_of(enqueued.data_points, role="work")
    assert point.as_int == 3 and 0 < point.start_time_unix_nano < point.time_unix_nano
    assert refused(endpoint) == 2

    assert metrics["erlmcp.queue.retry_after"].unit == "s"
    assert metrics["erlmcp.native.memory"].unit == "By"
    utilization = metrics["erlmcp.queue.utilization"]
    assert utilization.unit == "1" and point_of(utilization.gauge.data_points, role="work").as_double == 1.0

    latency = metrics["erlmcp.control.latency"]
    (histogram,) = latency.histogram.data_points
    assert latency.unit == "s" and latency.histogram.aggregation_temporality == CUMULATIVE
    assert histogram.count == sum(histogram.bucket_counts) == 20
    assert len(histogram.bucket_counts) == len(histogram.explicit_bounds) + 1
    assert list(histogram.explicit_bounds) == sorted(histogram.explicit_bounds)
    assert 0 < histogram.sum < 20 * 60

    attributes = {a.key: a.value.string_value for a in endpoint.received[-1].resource_metrics[0].resource.attributes}
    assert attributes["service.name"] and attributes["service.instance.id"]
    assert "gzip" in endpoint.encodings


def test_an_endpoint_that_was_down_gets_all_that_was_counted(start_endpoint, start_node):
    gone = start_endpoint()
    node = start_node(otlp=otlp(gone.port))
    gone.stop()
    node.eval("ok = erlmcp_queue_limits:set_limit(work, 0)")
    eventually(lambda: node.eval("maps:get(otlp_failed, erlmcp_native_self:read())") >= 1, 15, "a push has failed")
    for _ in range(7):
        node.eval("erlmcp_queue_limits:try_enqueue(work, a)")
    endpoint = start_endpoint(gone.port)
    eventually(lambda: endpoint.received and refused(endpoint) == 7, 30, "the endpoint has caught up")
    starts = {
        point.start_time_unix_nano
        for request in endpoint.received
        for metric in request.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "erlmcp.queue.refused"
        for point in metric.sum.data_points
        if labels(point) == {"role": "work"}
    }
    assert len(starts) == 1


def test_one_that_is_busy_or_talks_nonsense_is_tried_again(start_endpoint, start_node):
    endpoint = start_endpoint()
    endpoint.status, endpoint.body = 503, b"come again \xff\x00"
    node = start_node(otlp=otlp(endpoint.port))
    node.eval("ok = erlmcp_queue_limits:set_limit(work, 0)")
    eventually(lambda: node.eval("maps:get(otlp_failed, erlmcp_native_self:read())") >= 1, 15, "a push has failed")
    node.eval("erlmcp_queue_limits:try_enqueue(work, a)")
    endpoint.status, endpoint.body = 200, b"\x00nonsense"
    eventually(lambda: endpoint.received and refused(endpoint) == 1, 30, "what was counted is there")


def test_an_endpoint_that_is_no_url_stops_the_start(start_node):
    with pytest.raises(Exception, match="a URL such as"):
        start_node(otlp='#{endpoint => "127.0.0.1:4318"}')
