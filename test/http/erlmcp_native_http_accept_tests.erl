-module(erlmcp_native_http_accept_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_accept, [metrics/1]).

openmetrics_test() ->
    [
        ?assertEqual({Accept, openmetrics}, {Accept, metrics(Accept)})
     || Accept <- [
            ~"application/openmetrics-text",
            ~"application/openmetrics-text; version=1.0.0",
            ~"Application/OpenMetrics-Text;Version=1.0.0;q=0.001",
            ~"application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4;q=0.3",
            %% What Prometheus 2 and 3 ask for.
            <<
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            >>,
            <<
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                "application/openmetrics-text;version=0.0.1;q=0.5,"
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
            >>,
            ~"application/*;q=0.5, text/*;q=0.4",
            ~"*/*, text/plain;q=0"
        ]
    ].

text_test() ->
    [
        ?assertEqual({Accept, text}, {Accept, metrics(Accept)})
     || Accept <- [
            undefined,
            ~"",
            ~"*/*",
            ~"text/plain",
            ~"text/plain, application/openmetrics-text",
            ~"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ~"application/json",
            ~"application/openmetrics-text;version=0.0.1",
            ~"application/openmetrics-text;q=0",
            ~"application/openmetrics-text;q=0.3, text/plain;q=0.5",
            ~"*/*;q=0.9, application/openmetrics-text;q=0.1",
            ~"garbage",
            ~"application/openmetrics-text;q=2",
            ~"application/openmetrics-text;q=",
            <<255, 0, 1>>,
            binary:copy(~"a/b,", 2000)
        ]
    ].
