-module(erlmcp_native_otlp_request).
-moduledoc """
One POST to an endpoint that may do anything, with a deadline, over TCP or TLS.

Nothing takes longer than the deadline, and of an answer of any length no more is held than
`m:erlmcp_native_otlp_response` reads of it. It is read while the request is still being sent: who does not want that
says so at once, and need not take the rest. There is no proxy, no redirect is followed, and a connection is used once.

To be called in a process of its own that ends soon after: its end closes the connection, without waiting for whoever
is on the other side. What could not be sent by then is thrown away. Over TLS that is the library's to do: if the other
side neither reads nor closes, its two processes and the socket stay for up to 30 s.

Why a client of our own, of some hundred lines of sockets beside the reading of answers:

- `httpc` collects an answer of any length in memory, and asks for no deadline on the whole.
- `gun` bounds what it hands over of a body, but collects headers and trailers of any length before it looks at them.
  What it cannot parse ends its process, so that a push which was taken (the status was there, then came an odd line)
  looks like one that was lost, and would be made again. It would be a dependency, with cowlib, of whoever only wants
  metrics pushed. And Debian, where the tools come from that this is built and tested with, has no package of it:
  nothing that is tested here would be what runs there.
""".

-export([post/4]).
-export([send/3]).

-export_type([outcome/0]).

-doc "An outcome says what came of a request: it was answered, or how far it got and why no further.".
-type outcome() :: erlmcp_native_otlp_response:outcome() | {failed, connect | tls | send, Reason :: term()}.

-define(LATE_MS, 20).

-doc """
Posts a body to an endpoint. The deadline is in monotonic milliseconds; the headers are those of this request only.
""".
-spec post(erlmcp_native_otlp_url:target(), [{binary(), binary()}], binary(), DeadlineMs :: integer()) -> outcome().
post(Target, Headers, Body, Deadline) ->
    maybe
        {ok, Socket} ?= connect(Target, Deadline),
        {ok, Connection} ?= secure(Target, Socket, Deadline),
        Length = {~"content-length", integer_to_binary(byte_size(Body))},
        Request = [head(Target, [Length | Headers]), Body],
        Sender = spawn_link(?MODULE, send, [self(), Connection, Request]),
        Outcome = answer(Connection, Deadline, erlmcp_native_otlp_response:new()),
        with_sent(sent(Sender), Connection, Outcome)
    end.

-doc false.
-spec send(pid(), {module(), term()}, iodata()) -> ok.
send(Reader, Connection, Request) ->
    Reader ! {self(), transmit(Connection, Request)},
    ok.

%% The answer to all of it may be there before its sender has said that all was sent.
sent(Sender) ->
    receive
        {Sender, Result} -> Result
    after ?LATE_MS ->
        true = unlink(Sender),
        true = exit(Sender, kill),
        not_all
    end.

with_sent(ok, Connection, {answered, _, _} = Outcome) ->
    %% The other side is not to see a reset after all went well.
    _ = setopts(Connection, [{linger, {false, 0}}]),
    Outcome;
with_sent({error, Reason}, _Connection, {failed, answer, _}) ->
    {failed, send, Reason};
with_sent(_, _Connection, Outcome) ->
    Outcome.

connect(#{host := Address} = Target, Deadline) when tuple_size(Address) =:= 4 ->
    connect([inet], Target, Deadline);
connect(#{host := Address} = Target, Deadline) when tuple_size(Address) =:= 8 ->
    connect([inet6], Target, Deadline);
connect(Target, Deadline) ->
    connect([inet6, inet], Target, Deadline).

%% The second way gets half of the time even if the first leads nowhere.
connect([Family | Others], #{host := Host, port := Port} = Target, Deadline) ->
    Ms = left(Deadline) div (1 + length(Others)),
    Options = [
        Family,
        binary,
        {active, false},
        {buffer, 16384},
        {nodelay, true},
        %% A socket that still has something to send would stay until the other side has read it.
        {linger, {true, 0}}
    ],
    case {gen_tcp:connect(Host, Port, Options, Ms), Others} of
        {{ok, Socket}, _} -> {ok, Socket};
        {{error, Reason}, []} -> {failed, connect, Reason};
        {{error, _}, _} -> connect(Others, Target, Deadline)
    end.

secure(#{scheme := http}, Socket, _Deadline) ->
    {ok, {gen_tcp, Socket}};
secure(#{scheme := https, host := Host}, Socket, Deadline) ->
    %% An address is checked against the one that is connected to, a name must be told.
    Name = [{server_name_indication, Host} || is_list(Host)],
    Options = [
        {verify, verify_peer},
        {cacerts, public_key:cacerts_get()},
        {customize_hostname_check, [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]},
        {log_level, none}
        | Name
    ],
    case ssl:connect(Socket, Options, left(Deadline)) of
        {ok, Secure} -> {ok, {ssl, Secure}};
        {error, Reason} -> {failed, tls, Reason}
    end.

head(#{authority := Authority, path := Path}, Headers) ->
    [
        [~"POST ", Path, ~" HTTP/1.1\r\nhost: ", Authority, ~"\r\nconnection: close\r\n"],
        [[Name, ~": ", Value, ~"\r\n"] || {Name, Value} <- Headers],
        ~"\r\n"
    ].

answer(Connection, Deadline, Read) ->
    case next(Connection, left(Deadline)) of
        {ok, Bytes} ->
            case erlmcp_native_otlp_response:feed(Bytes, Read) of
                {more, Longer} -> answer(Connection, Deadline, Longer);
                {done, Outcome} -> Outcome
            end;
        {error, Reason} ->
            erlmcp_native_otlp_response:ended(Reason, Read)
    end.

left(Deadline) ->
    max(0, Deadline - erlang:monotonic_time(millisecond)).

setopts({gen_tcp, Socket}, Options) -> inet:setopts(Socket, Options);
setopts({ssl, Socket}, Options) -> ssl:setopts(Socket, Options).

transmit({gen_tcp, Socket}, Data) -> gen_tcp:send(Socket, Data);
transmit({ssl, Socket}, Data) -> ssl:send(Socket, Data).

%% With no time left, what is there already would still be given.
next(_Connection, 0) -> {error, timeout};
next({gen_tcp, Socket}, Ms) -> gen_tcp:recv(Socket, 0, Ms);
next({ssl, Socket}, Ms) -> ssl:recv(Socket, 0, Ms).
