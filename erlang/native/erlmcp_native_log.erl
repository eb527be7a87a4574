-module(erlmcp_native_log).
-moduledoc """
Writes lines to the log for processes that others wait for.

Whoever logs may wait for the logger: for a console that nobody reads, say. So the caller makes the text, which is
bounded (`m:erlmcp_native_log_text`), and leaves the writing to a process of its own (`m:erlmcp_native_log_writer`).
Neither needs the application to be started.

- Of a *source* at most one line a second is written, and of all together at most 100. How many were left out is said
  a second later, with the line that stands for them.
- While the logger is stuck, 200 lines wait. More are counted, and their number is told when it is free again.
- A line is a report: the text and the fields are a map, so that a logger that writes JSON has `role` or `component` as
  fields. The same fields are in the metadata.

```erlang
1> erlmcp_native_log:write(warning, "~tp is full", [session], #{}, #{source => {full, session}, role => session}).
ok
```
""".

-export([write/5, flush/1]).

-export_type([about/0]).

-doc "What a line is about. Of one `source` at most one line a second is written; without it the caller bounds them.".
-type about() :: #{source => term(), atom() => term()}.

-doc """
Writes a line, unless its level is not logged, and returns at once. The place is the logger's `?LOCATION`, or `#{}`: it
becomes metadata, and the level that is set for its module is heeded.
""".
-spec write(logger:level(), io:format(), [term()], Place :: logger:metadata(), about()) -> ok.
write(Level, Format, Args, Place, About) ->
    Source = maps:get(source, About, none),
    case is_logged(Level, Place) andalso erlmcp_native_log_writer:admit(Source) of
        true -> erlmcp_native_log_writer:write(Source, event(Level, Format, Args, Place, maps:remove(source, About)));
        false -> ok
    end.

-doc """
Waits until the logger has had all lines that were written so far, and says whether that was so in time. A program that
ends the runtime may call it before.
""".
-spec flush(TimeoutMs :: non_neg_integer()) -> boolean().
flush(TimeoutMs) ->
    erlmcp_native_log_writer:flush(TimeoutMs).

is_logged(Level, #{mfa := {Module, _, _}}) -> logger:allow(Level, Module);
is_logged(Level, #{}) -> logger:allow(Level, ?MODULE).

event(Level, Format, Args, Place, Fields) ->
    Meta = Place#{pid => self(), gl => group_leader(), time => logger:timestamp()},
    {
        Level,
        Fields#{text => erlmcp_native_log_text:format(Format, Args)},
        maps:merge(process_metadata(), maps:merge(Fields, Meta))
    }.

process_metadata() ->
    case logger:get_process_metadata() of
        undefined -> #{};
        Metadata -> Metadata
    end.
