-module(erlmcp_native_http_json).
-moduledoc """
What the HTTP endpoints and the event stream say, as maps for `json:encode/1`.

Rows and alerts are made by `erlmcp_native_json:plain/1`. Roles and components become text before they are encoded: to
the encoder the atoms `null` and `true` are no strings.
""".

-export([encode/1, summary/1, control/1, component/1, rates/1, queues/1, alert/1, event/1, text/1]).

-export_type([event/0]).

-doc "An event stream tells of these at once.".
-type event() ::
    {raised | cleared, erlmcp_overload_monitor:alert()}
    | {breaker, erlmcp_queue_limits:role(), open | close}.

-doc "Encodes a map as one line of JSON, in one piece: a large binary is passed on without being copied.".
-spec encode(map()) -> binary().
encode(Map) ->
    iolist_to_binary(json:encode(Map)).

-doc "Makes the answer that shows the node at a glance.".
-spec summary(erlmcp_native_metrics:snapshot()) -> map().
summary(#{roles := Roles, control := Control, pressure := Pressure, self := Self} = Snapshot) ->
    #{at_ms := AtMs, services := Services, switches := Switches, rates := Rates, cancel := Cancel} = Snapshot,
    Numbers = erlmcp_native_role:numbers(),
    #{
        at_ms => AtMs,
        up_ms => up_ms(),
        started_ms => known(erlmcp_native_self:started_ms()),
        node => text(node()),
        version => version(),
        services => Services,
        switches => Switches,
        roles => [role(Role, Numbers) || Role <- Roles],
        rates => [rate(Rate) || Rate <- Rates],
        control => plane(Control),
        cancel => known(Cancel),
        pressure => pressure(Pressure),
        cluster => erlmcp_overload_cluster_server:is_readable(),
        self => Self#{streams => maps:get(http_streams, erlmcp_native_self:read(), 0)}
    }.

-doc "Makes the answer that shows the control plane with its components.".
-spec control(erlmcp_native_metrics:snapshot()) -> map() | undefined.
control(#{control := undefined}) ->
    undefined;
control(#{at_ms := AtMs, control := Control}) ->
    Shown = erlmcp_native_metric:components(Control),
    (plane(Control))#{at_ms => AtMs, by_component => #{text(Id) => component(Row) || {Id, Row} <- Shown}}.

-doc "Makes the answer that shows rates: those by name, and those of control messages.".
-spec rates(erlmcp_native_metrics:snapshot()) -> map().
rates(#{at_ms := AtMs, rates := Rates, control := Control}) ->
    #{
        at_ms => AtMs,
        rates => [rate(Rate) || Rate <- Rates],
        control => [
            (rate(Rate))#{component => text(Id), type => Type}
         || {Id, #{rates := ByType}} <- components(Control), {Type, Rate} <- lists:sort(maps:to_list(ByType))
        ]
    }.

components(undefined) -> [];
components(Control) -> erlmcp_native_metric:components(Control).

%% Of whom a key is says nobody here: it may be a secret.
rate(#{rate := {Limit, Period}} = Rate) ->
    Row = #{Key => known(Value) || Key := Value <- maps:remove(rate, Rate)},
    named(Row#{limit => Limit, period => Period}).

named(#{name := Name} = Row) -> Row#{name := text(Name)};
named(Row) -> Row.

known(undefined) -> null;
known(Value) -> Value.

-doc "Makes the rows that show owners in their roles.".
-spec queues([erlmcp_overload_monitor:queue_info()]) -> [erlmcp_native_json:plain()].
queues(Rows) ->
    [erlmcp_native_json:plain(Row) || Row <- Rows].

-doc "Makes the row that shows an alert.".
-spec alert(erlmcp_overload_monitor:alert()) -> erlmcp_native_json:plain().
alert(Alert) ->
    erlmcp_native_json:plain(Alert).

-doc "Returns the name of an event and what it says.".
-spec event(event()) -> {Name :: binary(), erlmcp_native_json:plain() | map()}.
event({breaker, Role, Action}) -> {~"breaker", #{role => text(Role), action => Action}};
event({What, Alert}) -> {~"alert", erlmcp_native_json:plain(Alert#{what => What})}.

-doc "Returns the text of an atom.".
-spec text(atom()) -> binary().
text(Atom) ->
    atom_to_binary(Atom).

%% Of the runtime: no clock that is set changes it.
up_ms() ->
    erlang:convert_time_unit(erlang:monotonic_time() - erlang:system_info(start_time), native, millisecond).

version() ->
    case application:get_key(erlmcp_native, vsn) of
        {ok, Version} -> list_to_binary(Version);
        undefined -> null
    end.

role(Row, Numbers) ->
    #{Name => value(Kind, maps:get(Name, Row)) || #{name := Name, kind := Kind} <- Numbers}.

value(role, Role) -> text(Role);
value(_, undefined) -> null;
value(limit, infinity) -> null;
%% Over ten seconds: the other digits say nothing, and no packing makes them few.
value(per_s, Rate) -> round(100 * Rate) / 100;
value(by_reason, Refused) ->
    [#{class => Class, reason => Reason, refused => Count} || {Class, Reason, Count} <- Refused];
value(caps, Caps) ->
    #{Of => #{used => Used, most => value(limit, Most)} || {Of, Used, Most} <- Caps};
value(by_wait, Bands) -> [#{from_ms => From, owners => Owners} || {From, Owners} <- Bands];
value(by_utilization, Bands) -> [#{from => From, owners => Owners} || {From, Owners} <- Bands];
value(_, Value) -> Value.

pressure(off) ->
    null;
pressure(#{memory := Memory, run_queue := RunQueue} = Pressure) ->
    Pressure#{memory := cause(Memory), run_queue := cause(RunQueue)}.

cause(off) -> null;
cause(#{marks := {First, Second}} = Cause) ->
    #{Key => plain(Key, Value) || Key := Value <- Cause#{marks := [First, Second]}}.

plain(source, {file, File}) -> unicode:characters_to_binary(File);
plain(_, unknown) -> null;
plain(_, Value) -> Value.

plane(undefined) ->
    null;
plane(#{by_component := Rows, latency := #{below := Below}} = Control) ->
    Told = [
        delivered, by_type, delivery_p50_us, delivery_p99_us, slo_violations, timeouts, handler_crashes | waits()
    ],
    (maps:with(Told, Control))#{
        components => map_size(Rows),
        refused_by_rate => refused(Rows),
        latency_below => [#{us => Us, count => Count} || {Us, Count} <- Below]
    }.

%% By type, of all components.
refused(Rows) ->
    Each = [{Type, Refused} || #{rates := Rates} <- maps:values(Rows), Type := #{refused := Refused} <- Rates],
    erlmcp_native_metric:sums(Each).

-doc "Makes the row that shows a component of the control plane.".
-spec component(map()) -> map().
component(#{rates := Rates} = Row) ->
    (maps:with([delivered, by_type | waits()], Row))#{rates => #{Type => rate(Rate) || Type := Rate <- Rates}}.

waits() ->
    [queued, latency_p50_us, latency_p95_us, latency_p99_us, latency_p999_us, max_latency_us].
