-module(erlmcp_native_http_history).
-moduledoc "`/api/history`: what `m:erlmcp_native_history` has, of one role or of all, by second or by minute.".

-compile(nowarn_undefined_behaviour).
-behaviour(cowboy_handler).

-export([init/2]).

-doc false.
-spec init(cowboy_req:req(), none) -> {ok, cowboy_req:req(), none}.
init(Req, none) ->
    Answer =
        maybe
            ok ?= erlmcp_native_http_reply:admit(Req),
            {ok, Values} ?= erlmcp_native_http_query:check(cowboy_req:qs(Req), [role, span]),
            {ok, Scope} ?= scope(Values),
            Span = maps:get(span, Values, last_10_minutes),
            answer(Span, Scope, erlmcp_native_history:read(Span, Scope))
        else
            {error, {Status, _, _} = Refusal} when is_integer(Status) -> Refusal;
            {error, Problem} -> erlmcp_native_http_reply:problem(Problem)
        end,
    {ok, erlmcp_native_http_reply:send(Answer, Req), none}.

scope(#{role := Name}) ->
    try erlmcp_native_http_query:known(Name, maps:keys(erlmcp_queue_limits:get_all_limits())) of
        {ok, Role} -> {ok, {role, Role}};
        error -> {error, {~"role", <<"there is no role ", (erlmcp_native_http_query:printable(Name))/binary>>}}
    catch
        exit:{noproc, _} -> {ok, all}
    end;
scope(#{}) ->
    {ok, all}.

answer(_, _, off) ->
    erlmcp_native_http_reply:failure(503, ~"no history is kept, or erlmcp_queue_limits is not started");
answer(Span, Scope, #{roles := Rows} = History) ->
    Asked = case Scope of {role, Role} -> erlmcp_native_http_json:text(Role); all -> null end,
    erlmcp_native_http_reply:json(200, History#{
        at_ms => erlang:system_time(millisecond),
        span => Span,
        role => Asked,
        roles := [Row#{role := erlmcp_native_http_json:text(Of)} || #{role := Of} = Row <- Rows]
    }).
