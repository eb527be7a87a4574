-module(erlmcp_limits_server).
-moduledoc """
The process registered as `erlmcp_queue_limits`: it owns the name, applies the configuration, logs refusals, has full
buckets of rates forgotten, and each second of the history recorded. It counts nothing: that is done in the callers,
and goes on while this process is away.

The log gets a role's first refusal after a quiet second at once, and then at most one line a second for
the role, with the number of refusals since. The library sends at most one message a second and role.
""".

-behaviour(gen_server).
-behaviour(erlmcp_native_config).

-export([start_link/0, close/0, config/0, reload_config/0]).
-export([check/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-define(NAME, erlmcp_queue_limits).
-define(SAMPLE_MS, 1000).
-define(TICK_MS, 100).
-define(LOG_MS, 1000).
-define(MAX_ROLES, 1024).
-define(MAX_RATES, 1024).
-define(WAIT, "{wait, Milliseconds, #{min => Min, max => Max}} with 1 to 1000000 ms and 1 =< Min =< Max =< 4194303").
-define(NO_MAX, "a max that is no less than min; without one it is the default limit of the role").
-define(NO_ROOM_FOR_RATES, "at most 1024 rates, 64 of scope cluster, with those defined at run time; none was changed").
-define(NO_ROOM, "at most 1024 roles, those included that came up at run time; nothing was changed").

%% The roles with a line in the log less than LOG_MS ago. Each has a timer that runs.
-type state() :: #{erlmcp_queue_limits:role() => logged}.

-doc "Starts the service of the queue limits, linked to the caller and registered as `erlmcp_queue_limits`.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    erlmcp_native_service:start_link(?NAME, ?MODULE, [], [], {?MODULE, check, []}).

-doc false.
-spec check() -> ok | {error, term()}.
check() ->
    case configured() of
        {ok, _, _, _, _, _} -> ok;
        Error -> Error
    end.

-doc "Closes the table of limits, and rates, and forgets everything that was counted and set.".
-spec close() -> ok.
close() ->
    _ = erlmcp_native:limits_close(own),
    _ = erlmcp_native:rate_close(),
    _ = erlmcp_native:history_keep(false),
    erlmcp_native_service:closed(?NAME).

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    Limit = erlmcp_native_options:checked("an integer from 0 to 2^59 - 1, or infinity", fun is_limit/1),
    [
        #{
            name => queue_limits,
            type => by_role("a map of roles to limits", Limit),
            default => defaults(),
            shown => ~"see `m:erlmcp_queue_limits`",
            merged => true,
            doc =>
                ~"The limits per owner, as `erlmcp_queue_limits:set_limit/2` takes them, of at most 1024 roles."
        },
        #{
            name => reserve,
            type => by_role("a map of roles to reserves", erlmcp_native_reserve:type()),
            default => #{},
            doc => ~"What of a role's limit is kept for the higher classes, see `erlmcp_queue_limits:set_reserve/2`."
        },
        #{
            name => rates,
            type => rates(),
            default => #{},
            doc => ~"Rates by name, at most 1024, as `erlmcp_overload_rate:define/2` takes them."
        },
        #{
            name => queue_limits_enabled,
            type => erlmcp_native_options:boolean(),
            default => true,
            doc => ~"Whether a full queue refuses."
        },
        #{
            name => history,
            type => erlmcp_native_options:boolean(),
            default => true,
            from => [erlmcp_native],
            doc => ~"Whether the last day is kept, see `m:erlmcp_native_history`."
        }
    ].

by_role(Expected, Type) ->
    Role = erlmcp_native_options:named("an atom for the role", erlmcp_native_options:atom()),
    Map = erlmcp_native_options:named(Expected, erlmcp_native_options:map_of(Role, Type)),
    erlmcp_native_options:at_most(?MAX_ROLES, "at most 1024 roles", Map).

rates() ->
    Name = erlmcp_native_options:named("an atom for the rate", erlmcp_native_options:atom()),
    Rates = erlmcp_native_options:map_of(Name, erlmcp_native_rate:type()),
    Map = erlmcp_native_options:named("a map of names to rates", Rates),
    erlmcp_native_options:at_most(?MAX_RATES, "at most 1024 rates", Map).

is_limit(Limit) ->
    case erlmcp_native_limit:is_limit(Limit) of
        false when element(1, Limit) =:= wait -> {error, {[], Limit, ?WAIT}};
        IsLimit -> IsLimit
    end.

defaults() ->
    #{
        session => 10000,
        sse_stream => 5000,
        task_worker => 1000,
        tool_executor => 500,
        transport => 2000,
        default => 1000
    }.

%% As the library has them.
library(Given) ->
    Most = fun(Role) -> maps:get(Role, defaults(), maps:get(default, defaults())) end,
    Limits = [{Role, erlmcp_native_limit:to_library(Limit, Most(Role))} || Role := Limit <- Given],
    case lists:keyfind(bad_limit, 2, Limits) of
        false -> {ok, Limits};
        {Role, _} -> erlmcp_native_config:problem(erlmcp_native, queue_limits, {[Role], maps:get(Role, Given), ?NO_MAX})
    end.

-doc "Applies the configuration of limits to the table, if the service is started.".
-spec reload_config() -> ok | {error, erlmcp_native_config:problem()}.
reload_config() ->
    maybe
        {ok, Limits, Reserves, Enforcing, Rates, History} ?= configured(),
        ok ?= applied(
            erlmcp_native:limits_configure(own, Limits, Reserves, Enforcing),
            queue_limits,
            maps:from_list(Limits),
            ?NO_ROOM
        ),
        ok ?= applied(erlmcp_native:rate_configure(Rates), rates, [Name || {Name, _} <- Rates], ?NO_ROOM_FOR_RATES),
        whereis(?NAME) =:= undefined orelse erlmcp_native:history_keep(History),
        ok
    end.

applied(Full, Key, Given, NoRoom) when Full =:= too_many_roles; Full =:= too_many_rates ->
    erlmcp_native_config:problem(erlmcp_native, Key, {[], Given, NoRoom});
applied(_AppliedOrNotStarted, _, _, _) ->
    ok.

-doc false.
-spec init([]) -> {ok, state()} | {error, term()}.
init([]) ->
    process_flag(trap_exit, true),
    maybe
        ok ?= erlmcp_native_error:library(),
        {ok, Limits, Reserves, Enforcing, Rates, History} ?= configured(),
        erlmcp_native_service:opens(?NAME),
        {Roles, HadRoom} = erlmcp_native:limits_open(own, Limits, Reserves, Enforcing),
        HadRoom orelse no_room(?NO_ROOM),
        erlmcp_native:rate_open(Rates) =:= ok orelse no_room(?NO_ROOM_FOR_RATES),
        ok = erlmcp_native:history_keep(History),
        sample_later(),
        record_later(?SAMPLE_MS),
        tick_later(),
        tidy_later(),
        %% What was refused while no process was there to be told. The others are looked at once more: a
        %% refusal right after one that was announced to the process before is announced to nobody.
        State = lists:foldl(fun log_refusals/2, #{}, Roles),
        {ok, lists:foldl(fun log_later/2, State, Roles -- maps:keys(State))}
    end.

no_room(Words) ->
    erlmcp_native_log:write(error, "erlmcp_queue_limits: ~ts", [Words], ?LOCATION, #{}).

-doc false.
-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({hand_over, UntilMs}, _From, State) ->
    {reply, erlmcp_native_service:hand_over(?NAME, UntilMs), State};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({refused, Role}, State) when is_map_key(Role, State) ->
    {noreply, State};
handle_info({refused, Role}, State) when is_atom(Role) ->
    {noreply, log_refusals(Role, State)};
handle_info({log_again, Role}, State) when is_map_key(Role, State) ->
    {noreply, log_refusals(Role, maps:remove(Role, State))};
handle_info(tick, State) ->
    _ = erlmcp_native:limits_tick(own),
    tick_later(),
    {noreply, State};
handle_info(sample, State) ->
    _ = erlmcp_native:limits_sample(own),
    sample_later(),
    {noreply, State};
handle_info(record, State) ->
    case erlmcp_native:history_record(own) of
        NextMs when is_integer(NextMs) -> record_later(NextMs);
        _NotStarted -> record_later(?SAMPLE_MS)
    end,
    {noreply, State};
handle_info({tidy, From}, State) when is_integer(From) ->
    %% A million keys take longer than from one tick to the next.
    _ =
        case erlmcp_native:rate_tidy(From) of
            Next when is_integer(Next) -> self() ! {tidy, Next};
            _AllOrNotStarted -> tidy_later()
        end,
    {noreply, State};
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), state()) -> ok.
terminate(Reason, _State) ->
    case erlmcp_native_service:is_stopped(Reason) of
        true -> close();
        false -> ok
    end.

configured() ->
    maybe
        {ok, Given} ?= erlmcp_native_config:lookup(queue_limits, config()),
        {ok, Limits} ?= library(Given),
        {ok, Reserves} ?= erlmcp_native_config:lookup(reserve, config()),
        {ok, Enforcing} ?= erlmcp_native_config:lookup(queue_limits_enabled, config()),
        {ok, Rates} ?= erlmcp_native_config:lookup(rates, config()),
        {ok, History} ?= erlmcp_native_config:lookup(history, config()),
        Fields = [{Name, erlmcp_native_rate:fields(Definition)} || Name := Definition <- Rates],
        {ok, Limits, maps:to_list(Reserves), Enforcing, Fields, History}
    end.

tick_later() ->
    _ = erlang:send_after(?TICK_MS, self(), tick),
    ok.

sample_later() ->
    _ = erlang:send_after(?SAMPLE_MS, self(), sample),
    ok.

%% In the middle of a second, so that being late by less than half of one misses none.
record_later(Ms) ->
    _ = erlang:send_after(Ms, self(), record),
    ok.

tidy_later() ->
    _ = erlang:send_after(?SAMPLE_MS, self(), {tidy, 0}),
    ok.

log_refusals(Role, State) ->
    case erlmcp_native:limits_take_refusals(own, Role) of
        {Count, Limit, Owners, Depth} ->
            erlmcp_native_log:write(
                warning,
                "erlmcp_queue_limits: ~tp refused ~b; limit ~tp per owner, ~b owners, depth ~b in all",
                [Role, Count, Limit, Owners, Depth],
                ?LOCATION,
                #{role => Role, refusals => Count}
            ),
            log_later(Role, State);
        not_found ->
            State
    end.

log_later(Role, State) ->
    _ = erlang:send_after(?LOG_MS, self(), {log_again, Role}),
    State#{Role => logged}.
