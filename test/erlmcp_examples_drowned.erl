%% How each example is started under a supervisor, and asked: the same requests and the same answers for all.
-module(erlmcp_examples_drowned).

-behaviour(supervisor).

-export([examples/1, start/1, stop/1, ask/2, ask/3, consumers/1, lengths/1, bounded/1, post/3]).
-export([init/1]).

-export_type([bath/0, answer/0]).

-define(SESSION, erlmcp_native_example_session).
-define(TOOLS, erlmcp_native_example_tool_server).
-define(HTTP, erlmcp_native_example_http).
-define(POOL, erlmcp_native_example_pool).
-define(POOL_WORKER, erlmcp_native_example_pool_worker).
-define(LIMIT, 10).
-define(WORKERS, 4).
-define(PATIENCE_MS, 30000).

-type answer() :: served | refused | timeout | gone.
-type work() :: quick | endless.
-type bath() :: #{
    %% Of each mailbox, and of all together.
    limit := pos_integer(),
    places := pos_integer(),
    %% How many requests it is at, and how many wait, when it takes no more.
    runs := pos_integer(),
    waiting := non_neg_integer(),
    %% Whether a request that was not answered in time has come.
    admits := at_once | later,
    %% How many messages there may be, at most, that come by other ways: what a work ends with, a system message.
    otherwise := non_neg_integer() | unbounded,
    held := [{Role :: atom(), Owner :: atom()}],
    supervisor := pid(),
    consumers := fun(() -> [pid()]),
    ask := fun((work(), timeout()) -> answer()),
    block := fun(() -> ok),
    stop := fun(() -> ok)
}.

%% Those that a scenario is for.
-spec examples(Scenario :: atom()) -> [atom()].
examples(Scenario) when
    Scenario =:= callers_give_up_while_it_hangs;
    Scenario =:= callers_are_killed_while_it_is_blocked;
    Scenario =:= the_service_is_started_again_while_it_works;
    Scenario =:= what_is_held_is_forgotten_while_it_works
->
    [session, tool_server, http, pool];
examples(_Scenario) ->
    [session, tool_server, http, pool, session_backend, server].

-spec start(atom()) -> bath().
start(Example) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, []),
    #{limits := Limits, child := Child} = Bath = example(Example, self(), Supervisor),
    maps:foreach(fun erlmcp_queue_limits:set_limit/2, Limits),
    {ok, _} = supervisor:start_child(Supervisor, Child),
    Defaults = #{
        supervisor => Supervisor,
        consumers => fun() -> children(Supervisor) end,
        limit => ?LIMIT,
        places => ?LIMIT,
        runs => 1,
        waiting => ?LIMIT,
        admits => at_once,
        otherwise => 2,
        held => [],
        stop => fun() -> ok end
    },
    with_block(maps:merge(Defaults, Bath)).

with_block(#{block := _} = Bath) ->
    Bath;
with_block(#{ask := Ask, runs := Runs} = Bath) ->
    Bath#{
        block => fun() ->
            lists:foreach(fun(_) -> spawn(fun() -> Ask(endless, ?PATIENCE_MS) end) end, lists:seq(1, Runs))
        end
    }.

-spec stop(bath()) -> ok.
stop(#{supervisor := Supervisor, stop := Stop}) ->
    ok = Stop(),
    true = unlink(Supervisor),
    ok = gen_server:stop(Supervisor).

-spec ask(bath(), work()) -> answer().
ask(Bath, Work) ->
    ask(Bath, Work, ?PATIENCE_MS).

-spec ask(bath(), work(), timeout()) -> answer().
ask(#{ask := Ask}, Work, TimeoutMs) ->
    Ask(Work, TimeoutMs).

%% The processes whose mailboxes are what waits.
-spec consumers(bath()) -> [pid()].
consumers(#{consumers := Consumers}) ->
    Consumers().

-spec lengths(bath()) -> [non_neg_integer()].
lengths(Bath) ->
    [Length || Pid <- consumers(Bath), {message_queue_len, Length} <- [process_info(Pid, message_queue_len)]].

%% What is bounded: all that waits there, or the requests among it where what else comes has no bound.
-spec bounded(bath()) -> [non_neg_integer()].
bounded(#{otherwise := unbounded} = Bath) ->
    [
        length([call || {'$gen_call', _, _} <- Messages])
     || Pid <- consumers(Bath), {messages, Messages} <- [process_info(Pid, messages)]
    ];
bounded(Bath) ->
    lengths(Bath).

-spec init([]) -> {ok, {supervisor:sup_flags(), []}}.
init([]) ->
    {ok, {#{intensity => 1000, period => 1}, []}}.

child(Start) ->
    #{id => consumer, start => Start, shutdown => brutal_kill}.

%% While one is being started again, none is there.
children(Supervisor) ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(Supervisor), is_pid(Pid)].

named(Name) ->
    [Pid || Pid <- [whereis(Name)], is_pid(Pid)].

example(session, Test, _) ->
    #{
        limits => #{session => ?LIMIT},
        child => child({?SESSION, start_link, [drowned]}),
        consumers => fun() -> named(drowned) end,
        ask => fun(Work, TimeoutMs) -> json_rpc(?SESSION:request(drowned, 1, work(Work, Test), TimeoutMs)) end
    };
example(tool_server, Test, Supervisor) ->
    Ask = fun
        ([], _, _) -> gone;
        ([Server], Work, TimeoutMs) -> json_rpc(?TOOLS:call_tool(Server, s, make_ref(), work(Work, Test), TimeoutMs))
    end,
    #{
        limits => #{tool_call => ?LIMIT, tool_executor => 3},
        child => child({?TOOLS, start_link, [drowned]}),
        ask => fun(Work, TimeoutMs) -> Ask(children(Supervisor), Work, TimeoutMs) end,
        runs => 3,
        waiting => 0,
        otherwise => 2 * 3 + 1,
        held => [{tool_executor, consumers}]
    };
example(http, Test, _) ->
    Answer = fun(#{~"method" := Method}) -> (work(binary_to_existing_atom(Method), Test))() end,
    Dispatch = cowboy_router:compile([{'_', ?HTTP:routes(drowned, Answer)}]),
    {ok, _} = cowboy:start_clear(drowned, [{port, 0}], #{env => #{dispatch => Dispatch}}),
    Port = ranch:get_port(drowned),
    #{
        limits => #{session => ?LIMIT, http_request => 50},
        child => child({?SESSION, start_link, [drowned]}),
        consumers => fun() -> named(drowned) end,
        ask => fun(Work, TimeoutMs) -> posted(Port, Work, TimeoutMs) end,
        admits => later,
        held => [{http_request, ?HTTP}],
        stop => fun() -> cowboy:stop_listener(drowned) end
    };
example(pool, Test, _) ->
    #{
        limits => #{example_pool => ?LIMIT},
        child => (child({?POOL, start_link, [?WORKERS]}))#{type => supervisor},
        consumers => fun ?POOL_WORKER:members/0,
        ask => fun(Work, TimeoutMs) -> pooled(?POOL:run(work(Work, Test), TimeoutMs)) end,
        places => ?WORKERS * ?LIMIT,
        runs => ?WORKERS,
        %% One for each, past the choice of one by chance.
        block => fun() -> [Pid ! {job, none, work(endless, Test)} || Pid <- ?POOL_WORKER:members()], ok end,
        waiting => ?WORKERS * ?LIMIT
    };

example(session_backend, _, Supervisor) ->
    Fetch = fun(Backend) -> erlmcp_native_example_session_backend:fetch(Backend, nobody) end,
    #{
        limits => #{session_backend => ?LIMIT},
        child => child({erlmcp_native_example_session_backend, start_link, []}),
        ask => fun(quick, _) -> called(Fetch, children(Supervisor)) end
    };
example(server, Test, Supervisor) ->
    Run = fun(Server) -> erlmcp_native_example_server:run(Server, make_ref(), work(quick, Test)) end,
    #{
        limits => #{operation => ?LIMIT},
        child => child({erlmcp_native_example_server, start_link, []}),
        ask => fun(quick, _) -> called(Run, children(Supervisor)) end,
        %% What operations end with, of which any number may run.
        otherwise => unbounded
    }.

called(_, []) ->
    gone;
called(Call, [Pid]) ->
    try Call(Pid) of
        {ok, done} -> served;
        {error, not_found} -> served;
        {error, {capacity_exceeded, _}} -> refused;
        {error, noproc} -> gone
    catch
        exit:{_, {gen_server, call, _}} -> gone
    end.

work(quick, _Test) ->
    fun() -> done end;
work(endless, Test) ->
    fun() ->
        Test ! {works, self()},
        receive
            finish -> done
        end
    end.

json_rpc(#{~"result" := _}) -> served;
json_rpc(#{~"error" := #{~"code" := -32010}}) -> refused;
json_rpc(#{~"error" := #{~"message" := Message}}) ->
    case re:run(Message, ~"(timed out|has ended)$", [{capture, all_but_first, list}]) of
        {match, ["timed out"]} -> timeout;
        {match, ["has ended"]} -> gone
    end.

pooled({ok, done}) -> served;
pooled({error, {busy, _}}) -> refused;
pooled({error, timeout}) -> timeout;
pooled({error, no_worker}) -> gone;
pooled({error, {worker_died, _}}) -> gone.

posted(Port, Work, TimeoutMs) ->
    case post(Port, json:encode(#{jsonrpc => ~"2.0", id => 1, method => Work}), TimeoutMs) of
        timeout -> timeout;
        {503, <<_, _/binary>>, Response} -> refused = json_rpc(Response);
        {200, none, Response} -> json_rpc(Response)
    end.

%% A client that leaves when it has waited long enough. Its socket goes with its process.
-spec post(inet:port_number(), iodata(), timeout()) ->
    {Status :: 100..999, RetryAfter :: binary() | none, Response :: json:decode_value() | none} | timeout.
post(Port, Body, TimeoutMs) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {packet, http_bin}]),
    Length = integer_to_list(iolist_size(Body)),
    ok = gen_tcp:send(Socket, ["POST /rpc HTTP/1.1\r\nhost: localhost\r\ncontent-length: ", Length, "\r\n\r\n", Body]),
    Answer =
        case gen_tcp:recv(Socket, 0, TimeoutMs) of
            {ok, {http_response, _, Status, _}} -> answer(Socket, Status, headers(Socket));
            {error, timeout} -> timeout
        end,
    ok = gen_tcp:close(Socket),
    Answer.

answer(Socket, Status, #{'Content-Length' := Length} = Headers) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    {Status, maps:get('Retry-After', Headers, none), body(Socket, binary_to_integer(Length))}.

body(_, 0) ->
    none;
body(Socket, Length) ->
    {ok, Body} = gen_tcp:recv(Socket, Length, ?PATIENCE_MS),
    json:decode(Body).

headers(Socket) ->
    case gen_tcp:recv(Socket, 0, ?PATIENCE_MS) of
        {ok, {http_header, _, Name, _, Value}} -> (headers(Socket))#{Name => Value};
        {ok, http_eoh} -> #{}
    end.
