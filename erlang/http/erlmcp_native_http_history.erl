-module(erlmcp_native_http_history).
-moduledoc """
`/api/history`: what `m:erlmcp_native_history` has, of one role or of all, by second or by minute. With `node` it is
that of another node, which is asked for it (`m:erlmcp_native_http_cluster`).
""".

-compile(nowarn_undefined_behaviour).
-behaviour(cowboy_handler).

-export([init/2]).

-define(OFF, ~"no history is kept, or erlmcp_queue_limits is not started").

-doc false.
-spec init(cowboy_req:req(), none) -> {ok, cowboy_req:req(), none}.
init(Req, none) ->
    Answer =
        maybe
            ok ?= erlmcp_native_http_reply:admit(Req),
            {ok, Values} ?= erlmcp_native_http_query:check(cowboy_req:qs(Req), [role, span, node]),
            {ok, Role, History} ?= history(maps:get(span, Values, last_10_minutes), Values),
            erlmcp_native_http_reply:json(200, maps:merge(History, asked(Role, Values)))
        else
            {error, {Status, _, _} = Refusal} when is_integer(Status) -> Refusal;
            {error, Problem} -> erlmcp_native_http_reply:problem(Problem)
        end,
    {ok, erlmcp_native_http_reply:send(Answer, Req), none}.

asked(Role, Values) ->
    #{
        ~"at_ms" => erlang:system_time(millisecond),
        ~"span" => maps:get(span, Values, last_10_minutes),
        ~"role" => Role,
        ~"of" => maps:get(node, Values, erlmcp_native_http_json:text(node()))
    }.

history(Span, #{node := Node} = Values) ->
    try erlmcp_native_http_cluster:ask(Node, erlmcp_native_history, read, [Span, all]) of
        {ok, #{~"roles" := Rows} = History} when is_list(Rows) -> of_node(History, Values);
        {ok, ~"off"} -> {error, erlmcp_native_http_reply:failure(503, ?OFF)};
        {ok, _} -> {error, erlmcp_native_http_reply:failure(503, ~"the node has answered something else")};
        {error, _} = Refusal -> Refusal
    catch
        exit:{noproc, _} -> {error, erlmcp_native_http_reply:not_started(erlmcp_overload_cluster)}
    end;
history(Span, Values) ->
    maybe
        {ok, Scope} ?= scope(Values),
        #{roles := Rows} = History ?= erlmcp_native_history:read(Span, Scope),
        Role = case Scope of {role, Asked} -> erlmcp_native_http_json:text(Asked); all -> null end,
        {ok, Role, History#{roles := [Row#{role := erlmcp_native_http_json:text(Of)} || #{role := Of} = Row <- Rows]}}
    else
        off -> {error, erlmcp_native_http_reply:failure(503, ?OFF)};
        Error -> Error
    end.

%% Which roles there are on another node is known there.
of_node(#{~"roles" := Rows} = History, #{role := Name}) ->
    case [Row || #{~"role" := Of} = Row <- Rows, Of =:= Name] of
        [] ->
            Words = [~"there is no history there of a role ", erlmcp_native_http_query:printable(Name)],
            {error, {~"role", iolist_to_binary(Words)}};
        Its ->
            {ok, Name, History#{~"roles" := Its}}
    end;
of_node(History, #{}) ->
    {ok, null, History}.

scope(#{role := Name}) ->
    try erlmcp_native_http_query:known(Name, maps:keys(erlmcp_queue_limits:get_all_limits())) of
        {ok, Role} -> {ok, {role, Role}};
        error -> {error, {~"role", <<"there is no role ", (erlmcp_native_http_query:printable(Name))/binary>>}}
    catch
        exit:{noproc, _} -> {ok, all}
    end;
scope(#{}) ->
    {ok, all}.
