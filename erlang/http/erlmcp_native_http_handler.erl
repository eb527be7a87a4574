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
-type resource() ::
    summary
    | queues
    | alerts
    | rates
    | control
    | why
    | owner
    | component
    | cluster
    | live
    | ready
    | metrics
    | not_found.

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
            exit:{noproc, {erlmcp_overload_monitor, _, _}} ->
                erlmcp_native_http_reply:not_started(erlmcp_overload_monitor);
            exit:{noproc, {erlmcp_overload_cluster, _, _}} ->
                erlmcp_native_http_reply:not_started(erlmcp_overload_cluster)
        end
    else
        {error, {Status, _, _} = Answer} when is_integer(Status) -> Answer;
        {error, Problem} -> erlmcp_native_http_reply:problem(Problem)
    end.

%% Probes and scrapers add some of their own to what has none of ours.
parameters(live) -> ignored;
parameters(ready) -> ignored;
parameters(metrics) -> ignored;
parameters(queues) -> [role, top, by, text];
parameters(why) -> [role, owner];
parameters(owner) -> [role, pid];
parameters(component) -> [id];
parameters(alerts) -> [role];
parameters(cluster) -> [node];
parameters(_) -> [].

values(ignored, _Req) -> {ok, #{}};
values(Allowed, Req) -> erlmcp_native_http_query:check(cowboy_req:qs(Req), Allowed).

with_role(#{role := Name} = Values) ->
    case erlmcp_native_http_names:role(Name) of
        {ok, Role} -> {ok, Values#{role := Role}};
        {error, {not_started, Service}} -> {error, erlmcp_native_http_reply:not_started(Service)};
        {error, Problem} -> {error, Problem}
    end;
with_role(Values) ->
    {ok, Values}.

resource(summary, _, _Req) ->
    erlmcp_native_http_reply:json(200, erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()));
resource(queues, Values, _Req) ->
    erlmcp_native_http_drill:queues(Values);
resource(why, Values, _Req) ->
    erlmcp_native_http_drill:why(Values);
resource(owner, Values, _Req) ->
    erlmcp_native_http_drill:owner(Values);
resource(component, Values, _Req) ->
    erlmcp_native_http_drill:component(Values);
resource(alerts, Values, _Req) ->
    Alerts =
        case Values of
            #{role := Role} -> erlmcp_overload_monitor:get_alert_history(Role);
            #{} -> erlmcp_overload_monitor:get_alert_history()
        end,
    Shown = [erlmcp_native_http_json:alert(Alert) || Alert <- Alerts],
    erlmcp_native_http_reply:json(200, erlmcp_native_http_drill:of_role(Values, #{alerts => Shown}));
resource(rates, _, _Req) ->
    case erlmcp_native_metrics:snapshot() of
        #{services := #{erlmcp_queue_limits := true}} = Snapshot ->
            erlmcp_native_http_reply:json(200, erlmcp_native_http_json:rates(Snapshot));
        _ ->
            erlmcp_native_http_reply:not_started(erlmcp_queue_limits)
    end;
resource(control, _, _Req) ->
    case erlmcp_native_http_json:control(erlmcp_native_metrics:snapshot()) of
        undefined -> erlmcp_native_http_reply:not_started(erlmcp_control_plane);
        Control -> erlmcp_native_http_reply:json(200, Control)
    end;
resource(cluster, Values, _Req) ->
    erlmcp_native_http_cluster:answer(Values);
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
