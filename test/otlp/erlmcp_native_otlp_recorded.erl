%% Answers to a push as servers gave them, byte by byte, and what is to be read of them.
-module(erlmcp_native_otlp_recorded).

-export([answers/0]).

%% {Who answered, Bytes, Status, Retry-After or none, Body}.
answers() ->
    [
        {"nginx 1.22.1", <<
            "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 11:25:00 GMT\r\n"/utf8,
            "Content-Type: text/plain\r\nContent-Length: 21\r\nConnection: close\r\n\r\n"/utf8,
            "{\"partialSuccess\":{}}"/utf8
        >>, 200, none, <<
            "{\"partialSuccess\":{}}"/utf8
        >>},
        {"nginx 1.22.1, add_header Retry-After 7 always", <<
            "HTTP/1.1 503 Service Temporarily Unavailable\r\nServer: nginx/1.22.1\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 197\r\n"/utf8,
            "Connection: close\r\nRetry-After: 7\r\n\r\n<html>\r\n"/utf8,
            "<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"/utf8,
            "<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n"/utf8,
            "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"/utf8
        >>, 503, ~"7", <<
            "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"/utf8,
            "<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n"/utf8,
            "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"/utf8
        >>},
        {"nginx 1.22.1", <<
            "HTTP/1.1 301 Moved Permanently\r\nServer: nginx/1.22.1\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 169\r\n"/utf8,
            "Connection: close\r\nLocation: https://otlp.example/v1/metrics\r\n\r\n<html>\r\n"/utf8,
            "<head><title>301 Moved Permanently</title></head>\r\n<body>\r\n"/utf8,
            "<center><h1>301 Moved Permanently</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n"/utf8,
            "</body>\r\n</html>\r\n"/utf8
        >>, 301, none, <<
            "<html>\r\n<head><title>301 Moved Permanently</title></head>\r\n<body>\r\n"/utf8,
            "<center><h1>301 Moved Permanently</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n"/utf8,
            "</body>\r\n</html>\r\n"/utf8
        >>},
        {"nginx 1.22.1 before nobody", <<
            "HTTP/1.1 502 Bad Gateway\r\nServer: nginx/1.22.1\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 157\r\n"/utf8,
            "Connection: close\r\n\r\n<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"/utf8,
            "<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"/utf8,
            "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"/utf8
        >>, 502, none, <<
            "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"/utf8,
            "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n"/utf8,
            "</body>\r\n</html>\r\n"/utf8
        >>},
        {"nginx 1.22.1, a body beyond client_max_body_size", <<
            "HTTP/1.1 413 Request Entity Too Large\r\nServer: nginx/1.22.1\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 183\r\n"/utf8,
            "Connection: close\r\n\r\n<html>\r\n"/utf8,
            "<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n"/utf8,
            "<center><h1>413 Request Entity Too Large</h1></center>\r\n"/utf8,
            "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"/utf8
        >>, 413, none, <<
            "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n"/utf8,
            "<center><h1>413 Request Entity Too Large</h1></center>\r\n"/utf8,
            "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"/utf8
        >>},
        {"nginx 1.22.1 before Node.js", <<
            "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 11:25:00 GMT\r\n"/utf8,
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"/utf8,
            "15\r\n{\"partialSuccess\":{}}\r\n0\r\n\r\n"/utf8
        >>, 200, none, <<
            "{\"partialSuccess\":{}}"/utf8
        >>},
        {"Node.js", <<
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nConnection: close\r\n"/utf8,
            "Transfer-Encoding: chunked\r\n\r\n12\r\n{\"partialSuccess\":\r\n3\r\n{}}\r\n0\r\n\r\n"/utf8
        >>, 200, none, <<
            "{\"partialSuccess\":{}}"/utf8
        >>},
        {"Node.js, writeEarlyHints", <<
            "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"/utf8,
            "Content-Type: application/json\r\nDate: Thu, 26 Nov 2026 11:25:00 GMT\r\n"/utf8,
            "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{\"partialSuccess\":\r\n"/utf8,
            "3\r\n{}}\r\n0\r\n\r\n"/utf8
        >>, 200, none, <<
            "{\"partialSuccess\":{}}"/utf8
        >>},
        {"Node.js, addTrailers", <<
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: X-Sum\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nConnection: close\r\n"/utf8,
            "Transfer-Encoding: chunked\r\n\r\n12\r\n{\"partialSuccess\":\r\n33\r\n"/utf8,
            "{\"rejectedDataPoints\":\"2\",\"errorMessage\":\"日本\"}}\r\n0\r\nX-Sum: abc\r\n\r\n"/utf8
        >>, 200, none, <<
            "{\"partialSuccess\":{\"rejectedDataPoints\":\"2\",\"errorMessage\":\"日本\"}}"/utf8
        >>},
        {"Node.js", <<
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nConnection: close\r\n"/utf8,
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"/utf8
        >>, 429, ~"Sun, 06 Nov 1994 08:49:37 GMT", ~""},
        {"http.server of Python 3.11", <<
            "HTTP/1.0 501 Unsupported method ('POST')\r\nServer: SimpleHTTP/0.6 Python/3.11.7\r\n"/utf8,
            "Date: Thu, 26 Nov 2026 11:25:00 GMT\r\nConnection: close\r\n"/utf8,
            "Content-Type: text/html;charset=utf-8\r\nContent-Length: 357\r\n\r\n<!DOCTYPE HTML>\n"/utf8,
            "<html lang=\"en\">\n    <head>\n        <meta charset=\"utf-8\">\n"/utf8,
            "        <title>Error response</title>\n    </head>\n    <body>\n"/utf8,
            "        <h1>Error response</h1>\n        <p>Error code: 501</p>\n"/utf8,
            "        <p>Message: Unsupported method ('POST').</p>\n"/utf8,
            "        <p>Error code explanation: 501 - Server does not support this operation.</p>\n"/utf8,
            "    </body>\n</html>\n"/utf8
        >>, 501, none, <<
            "<!DOCTYPE HTML>\n<html lang=\"en\">\n    <head>\n        <meta charset=\"utf-8\">\n"/utf8,
            "        <title>Error response</title>\n    </head>\n    <body>\n"/utf8,
            "        <h1>Error response</h1>\n        <p>Error code: 501</p>\n"/utf8,
            "        <p>Message: Unsupported method ('POST').</p>\n"/utf8,
            "        <p>Error code explanation: 501 - Server does not support this operation.</p>\n"/utf8,
            "    </body>\n</html>\n"/utf8
        >>},
        {"Prometheus 2.42: net/http of Go", <<
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"/utf8,
            "X-Content-Type-Options: nosniff\r\nDate: Thu, 26 Nov 2026 11:25:00 GMT\r\n"/utf8,
            "Content-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n"/utf8
        >>, 404, none, <<
            "404 page not found\n"/utf8
        >>},
        {"Prometheus 2.42, /api/v1/write", <<
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"/utf8,
            "X-Content-Type-Options: nosniff\r\nDate: Thu, 26 Nov 2026 11:25:00 GMT\r\n"/utf8,
            "Content-Length: 22\r\nConnection: close\r\n\r\nsnappy: corrupt input\n"/utf8
        >>, 400, none, <<
            "snappy: corrupt input\n"/utf8
        >>}
    ].
