"""A web server on loopback for tests of the harness itself."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pages:
    """Serves {path: (content type, text)} until stop()."""

    def __init__(self, pages: dict[str, tuple[str, str]]):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, (kind, text) = (200, pages[self.path]) if self.path in pages else (404, ("text/plain", ""))
                body = text.encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
