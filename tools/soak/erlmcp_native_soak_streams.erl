-module(erlmcp_native_soak_streams).
-moduledoc "Streams of events are opened, read for a while, and left; each gets something within some seconds.".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1]).

-define(STREAMS, 4).
-define(PATIENCE_MS, 5000).

%% When it last got something, and how often.
-type stream() :: {gen_tcp:socket(), LastMs :: integer(), Times :: non_neg_integer()}.

-doc false.
-spec init() -> {[stream()], [iodata()]}.
init() ->
    {[], []}.

-doc false.
-spec act({[stream()], [iodata()]}) -> {[atom()], {[stream()], [iodata()]}}.
act({Streams, Findings}) when length(Streams) < ?STREAMS ->
    case erlmcp_native_soak_http:open("/events") of
        {ok, Socket} -> {[streams], {[{Socket, now_ms(), 0} | Streams], Findings}};
        {error, Reason} -> {[], {Streams, [io_lib:format("cannot open: ~0tp", [Reason]) | Findings]}}
    end;
act({Streams, Findings}) ->
    receive after 50 -> ok end,
    {Read, New} = lists:unzip([read(Stream) || Stream <- Streams]),
    {[], {lists:append(Read), lists:append(New) ++ Findings}}.

%% Left now and then, after it got something.
read({Socket, LastMs, Times}) ->
    case gen_tcp:recv(Socket, 0, 0) of
        {ok, _} when Times > 3 ->
            ok = gen_tcp:close(Socket),
            {[], []};
        {ok, _} ->
            {[{Socket, now_ms(), Times + 1}], []};
        {error, timeout} ->
            silent(Socket, LastMs, Times, now_ms() - LastMs > ?PATIENCE_MS);
        {error, Reason} ->
            {[], [io_lib:format("a stream ended: ~0tp", [Reason])]}
    end.

silent(Socket, LastMs, Times, false) ->
    {[{Socket, LastMs, Times}], []};
silent(Socket, _, Times, true) ->
    ok = gen_tcp:close(Socket),
    {[], [io_lib:format("a stream got nothing for ~b ms, and ~b times something before", [?PATIENCE_MS, Times])]}.

now_ms() ->
    erlang:monotonic_time(millisecond).

-doc false.
-spec rest({[stream()], [iodata()]}) -> {[iodata()], {[stream()], [iodata()]}}.
rest({Streams, Findings}) ->
    {Findings, {Streams, []}}.
