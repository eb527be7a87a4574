-module(erlmcp_native_http_handler).
-moduledoc """
The endpoints that answer with numbers. Which one it is, is the handler's initial state.

What is asked of a service that is not started gets 503; `/api/summary`, `/metrics` and `/health/live` answer
whatever is started. Below `/api/` a parameter that is not known is an error; elsewhere parameters are not looked at.
""".

-compile(nowarn_undefined_behaviour).
-behaviour(cowboy_handler).

-export([init/2]).

-export_type([resource/0]).

-doc "A resource is what a path stands for.".
-type resource() :: summary | queues | alerts | rates | control | live | ready | metrics | not_found.

-define(DEFAULT_TOP, 10).

-doc false.
-spec init(cowboy_req:req(), resource()) -> {ok, cowboy_req:req(), resource()}.
init(Req, Resource) ->
    try answer(Resource, Req) of
        Answer -> {ok, erlmcp_native_http_reply:send(Answer, Req), Resource}
    catch
        Class:Reason:Stack ->
            %% Cowboy logs it.
            Failure = erlmcp_native_http_reply:failure(500, ~"this went wrong, see the node's log"),
            _ = erlmcp_native_http_reply:send(Failure, Req),
            erlang:raise(Class, Reason, Stack)
    end.

answer(not_found, _Req) ->
    erlmcp_native_http_reply:failure(404, ~"there is no such path");
answer(Resource, Req) ->
    maybe
        ok ?= erlmcp_native_http_reply:admit(Req),
        {ok, Values} ?= values(parameters(Resource), Req),
        {ok, Checked} ?= with_role(Values),
        try
            resource(Resource, Checked, Req)
        catch
            exit:{noproc, {erlmcp_overload_monitor, _, _}} -> not_started(erlmcp_overload_monitor)
        end
    else
        {error, {Status, _, _} = Answer} when is_integer(Status) -> Answer;
        {error, Problem} -> erlmcp_native_http_reply:problem(Problem)
    end.

%% Probes and scrapers add some of their own to what has none of ours.
parameters(live) -> ignored;
parameters(ready) -> ignored;
parameters(metrics) -> ignored;
parameters(queues) -> [role, top];
parameters(alerts) -> [role];
parameters(_) -> [].

values(ignored, _Req) -> {ok, #{}};
values(Allowed, Req) -> erlmcp_native_http_query:check(cowboy_req:qs(Req), Allowed).

with_role(#{role := Name} = Values) ->
    try erlmcp_native_http_query:known(Name, maps:keys(erlmcp_queue_limits:get_all_limits())) of
        {ok, Role} -> {ok, Values#{role := Role}};
        error -> {error, {~"role", <<"there is no role ", (erlmcp_native_http_query:printable(Name))/binary>>}}
    catch
        exit:{noproc, _} -> {error, not_started(erlmcp_queue_limits)}
    end;
with_role(Values) ->
    {ok, Values}.

resource(summary, _, _Req) ->
    erlmcp_native_http_reply:json(200, erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()));
resource(queues, Values, _Req) ->
    Top = maps:get(top, Values, ?DEFAULT_TOP),
    case erlmcp_native_scan:fullest(role(Values), Top) of
        {ok, Rows} -> listed(Values, #{top => Top, queues => erlmcp_native_http_json:queues(Rows)});
        {error, {not_started, Process}} -> not_started(Process);
        {error, busy} -> erlmcp_native_http_reply:failure(503, ~"too many look at all queues already")
    end;
resource(alerts, Values, _Req) ->
    Alerts =
        case role(Values) of
            all -> erlmcp_overload_monitor:get_alert_history();
            {role, Role} -> erlmcp_overload_monitor:get_alert_history(Role)
        end,
    listed(Values, #{alerts => [erlmcp_native_http_json:alert(Alert) || Alert <- Alerts]});
resource(rates, _, _Req) ->
    case erlmcp_native_metrics:snapshot() of
        #{services := #{erlmcp_queue_limits := true}} = Snapshot ->
            erlmcp_native_http_reply:json(200, erlmcp_native_http_json:rates(Snapshot));
        _ ->
            not_started(erlmcp_queue_limits)
    end;
resource(control, _, _Req) ->
    case erlmcp_native_http_json:control(erlmcp_native_metrics:snapshot()) of
        undefined -> not_started(erlmcp_control_plane);
        Control -> erlmcp_native_http_reply:json(200, Control)
    end;
resource(live, _, _Req) ->
    erlmcp_native_http_reply:json(200, #{status => ok});
resource(ready, _, _Req) ->
    #{services := Services} = erlmcp_native_metrics:snapshot(),
    case lists:sort([Service || Service := false <- Services]) of
        [] -> erlmcp_native_http_reply:json(200, #{status => ok});
        Missing -> erlmcp_native_http_reply:json(503, #{status => unavailable, missing => Missing})
    end;
resource(metrics, _, Req) ->
    Format = erlmcp_native_http_accept:metrics(cowboy_req:header(~"accept", Req)),
    Headers = erlmcp_native_http_reply:guarded(#{
        ~"content-type" => erlmcp_native_prometheus:content_type(Format),
        ~"cache-control" => ~"no-store",
        ~"vary" => ~"accept"
    }),
    {200, Headers, iolist_to_binary(erlmcp_native_prometheus:format(erlmcp_native_metrics:collect(), Format))}.

role(#{role := Role}) -> {role, Role};
role(#{}) -> all.

listed(Values, Fields) ->
    Role =
        case Values of
            #{role := Given} -> erlmcp_native_http_json:text(Given);
            #{} -> null
        end,
    erlmcp_native_http_reply:json(200, Fields#{at_ms => erlang:system_time(millisecond), role => Role}).

not_started(Service) ->
    erlmcp_native_http_reply:failure(503, <<(erlmcp_native_http_json:text(Service))/binary, " is not started">>).
