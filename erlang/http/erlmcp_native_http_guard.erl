-module(erlmcp_native_http_guard).
-moduledoc """
Stands around each request on our own listener: who is not let in (`m:erlmcp_native_http_door`) is answered here, errors
that cowboy answers itself get a body in JSON, and what a connection may hold is bounded.

A client can send on while its request is being answered, and cowboy keeps all that for the next request. The bound
covers binaries too; a connection that exceeds it is killed.
""".

-compile(nowarn_undefined_behaviour).
-behaviour(cowboy_stream).

-export([init/3, data/4, info/3, terminate/3, early_error/5]).

%% 64 MB, some ten times the largest answer, that of a thousand roles and a thousand components.
-define(MAX_WORDS, 8388608).

-record(state, {head :: boolean(), next :: term()}).

-doc false.
-spec init(cowboy_stream:streamid(), cowboy_req:req(), cowboy:opts()) -> {cowboy_stream:commands(), #state{}}.
init(StreamId, #{method := Method} = Req, #{erlmcp_native_http_door := Door} = Options) ->
    _ = process_flag(max_heap_size, #{
        size => ?MAX_WORDS, kill => true, error_logger => true, include_shared_binaries => true
    }),
    State = #state{head = Method =:= ~"HEAD", next = undefined},
    case erlmcp_native_http_door:admit(Req, Door) of
        {ok, Admitted} -> with_next(cowboy_stream:init(StreamId, Admitted, Options), State);
        {error, Answer} -> {refused(Answer, Req), State}
    end.

-doc false.
-spec data(cowboy_stream:streamid(), cowboy_stream:fin(), binary(), #state{}) -> {cowboy_stream:commands(), #state{}}.
data(StreamId, IsFin, Data, #state{next = Next} = State) ->
    with_next(cowboy_stream:data(StreamId, IsFin, Data, Next), State).

-doc false.
-spec info(cowboy_stream:streamid(), term(), #state{}) -> {cowboy_stream:commands(), #state{}}.
info(StreamId, Info, #state{next = Next} = State) ->
    with_next(cowboy_stream:info(StreamId, Info, Next), State).

-doc false.
-spec terminate(cowboy_stream:streamid(), cowboy_stream:reason(), #state{}) -> ok.
terminate(StreamId, Reason, #state{next = Next}) ->
    cowboy_stream:terminate(StreamId, Reason, Next).

-doc false.
-spec early_error(
    cowboy_stream:streamid(),
    cowboy_stream:reason(),
    cowboy_stream:partial_req(),
    cowboy_stream:resp_command(),
    cowboy:opts()
) -> cowboy_stream:resp_command().
early_error(StreamId, Reason, PartialReq, Response, Options) ->
    Head = maps:get(method, PartialReq, undefined) =:= ~"HEAD",
    said(cowboy_stream:early_error(StreamId, Reason, PartialReq, Response, Options), human(Reason), Head).

%% Nobody comes after this one, and what is left of the request is not waited for.
refused({Status, Headers, Body}, #{method := Method}) ->
    Sized = Headers#{~"content-length" => integer_to_binary(iolist_size(Body)), ~"connection" => ~"close"},
    [{response, Status, Sized, case Method of ~"HEAD" -> <<>>; _ -> Body end}, stop].

with_next({Commands, Next}, #state{head = Head} = State) ->
    {[said(Command, undefined, Head) || Command <- Commands], State#state{next = Next}}.

said({Kind, Given, Headers, <<>>}, Human, Head) when
    (Kind =:= response orelse Kind =:= error_response),
    is_integer(Given),
    Given >= 400,
    not is_map_key(~"content-type", Headers)
->
    {Status, OurHeaders, Body} = erlmcp_native_http_reply:failure(status(Given), reason(Given, Human)),
    Sized = OurHeaders#{~"content-length" => integer_to_binary(iolist_size(Body))},
    {Kind, Status, maps:merge(Headers, Sized), case Head of true -> <<>>; false -> Body end};
said(Command, _, _) ->
    Command.

%% Cowboy does not implement some methods; nor are they allowed here.
status(501) -> 405;
status(Status) -> Status.

reason(501, _) -> ~"there are GET and HEAD only";
reason(408, _) -> ~"the request took too long to come";
reason(Status, _) when Status >= 500 -> ~"this went wrong, see the node's log";
reason(_, undefined) -> ~"the request is malformed";
reason(_, Human) -> Human.

human({_, _, Human}) when is_atom(Human) -> atom_to_binary(Human);
human(_) -> undefined.
