%% What the suites share: a started service, waiting, processes, what is logged, other nodes.
-module(erlmcp_native_test_lib).

-export([start/0, stop/1, with_service/1, crash/0, quiet/0, loud/1]).
-export([eventually/1, eventually/2]).
-export([signal/2]).
-export([idle/0, silent/1, silent/2, kill/1, dead/0, foreign_pid/0, earlier_pid/0, in_process/1, parallel/2]).
-export([stats/2, at_rest/1]).
-export([logged/1, log/2]).
-export([temp_dir/0, remove_dir/1, root/0, ours/0, ebins/1, install/2, peer/2]).

%% A service of its own for each test, and nobody linked to it. What the logger would say of crashes that
%% are meant to happen is not said.
with_service(Tests) ->
    {foreach, fun start/0, fun stop/1, [{timeout, 60, Test} || Test <- Tests]}.

start() ->
    Level = quiet(),
    {ok, Pid} = erlmcp_queue_limits:start_link(),
    unlink(Pid),
    Level.

stop(Level) ->
    case whereis(erlmcp_queue_limits) of
        undefined ->
            {ok, Pid} = erlmcp_queue_limits:start_link(),
            ok = gen_server:stop(Pid);
        Pid ->
            ok = gen_server:stop(Pid)
    end,
    loud(Level).

quiet() ->
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    Level.

loud(Level) ->
    ok = logger:set_primary_config(level, Level).

%% Kills the service's process. Nobody starts it again.
crash() ->
    kill(whereis(erlmcp_queue_limits)).

eventually(Condition) ->
    eventually(Condition, 20000).

%% Waits for an event that sends no message to be waited for: until the fun returns true.
eventually(Condition, Ms) ->
    eventually_by(Condition, Ms, erlang:monotonic_time(millisecond) + Ms).

eventually_by(Condition, Ms, Deadline) ->
    case {Condition(), erlang:monotonic_time(millisecond) >= Deadline} of
        {true, _} ->
            ok;
        {Seen, true} ->
            error({not_within_ms, Ms, Seen});
        {_, false} ->
            receive
            after 1 -> eventually_by(Condition, Ms, Deadline)
            end
    end.

%% To a process of the operating system. One that is to stop goes on until each of its threads has seen the signal.
signal(OsPid, Signal) ->
    "" = os:cmd(lists:concat(["kill -", Signal, " ", OsPid])),
    case Signal of
        "STOP" -> eventually(fun() -> lists:all(fun is_stopped/1, threads(OsPid)) end);
        _ -> ok
    end.

%% Only Linux says so.
threads(OsPid) ->
    filelib:wildcard(lists:concat(["/proc/", OsPid, "/task/*/stat"])).

is_stopped(Stat) ->
    case file:read_file(Stat) of
        {ok, Text} -> binary:match(Text, ~") T ") =/= nomatch;
        {error, _} -> true
    end.

%% A process that waits to be killed, or for its maker to die.
idle() ->
    Maker = self(),
    spawn(fun() ->
        Ref = monitor(process, Maker),
        receive
            {'DOWN', Ref, process, _, _} -> ok
        end
    end).

%% A process, and what runs a fun while that is in a native and answers nothing, for so long. Each is on a scheduler of
%% its own: what has just run on one that does not come back may not be taken over by another. No module is loaded
%% meanwhile, for which the runtime waits for all schedulers.
silent(Ms) ->
    silent(Ms, fun() -> ok end).

%% One that does something before, as soon as it is there.
silent(Ms, Before) ->
    ok = erlmcp_native_probe:load(),
    ok = code:ensure_modules_loaded([json, unicode_util | ours()]),
    Spin = fun() ->
        ok = Before(),
        receive {go, Maker} -> Maker ! {enters, self()} end,
        ok = erlmcp_native_probe:spin_ns(Ms * 1_000_000),
        receive stop -> ok end
    end,
    Pid = spawn_opt(Spin, [{scheduler, erlang:system_info(schedulers_online)}]),
    Go = fun(Fun) ->
        Enter = fun() ->
            Pid ! {go, self()},
            receive {enters, Pid} -> exit({done, Fun()}) end
        end,
        {_, Monitor} = spawn_opt(Enter, [monitor, {scheduler, 1}]),
        receive
            {'DOWN', Monitor, process, _, {done, Result}} -> Result;
            {'DOWN', Monitor, process, _, Reason} -> error(Reason)
        end
    end,
    {Pid, Go}.

kill(Pid) ->
    Ref = monitor(process, Pid),
    exit(Pid, kill),
    receive
        {'DOWN', Ref, process, Pid, killed} -> ok;
        {'DOWN', Ref, process, Pid, Reason} -> error({died_of, Reason})
    after 10000 -> error({still_alive, Pid})
    end.

dead() ->
    {Pid, Ref} = spawn_monitor(fun() -> ok end),
    receive
        {'DOWN', Ref, process, Pid, normal} -> Pid
    end.

foreign_pid() ->
    %% NEW_PID_EXT
    binary_to_term(<<131, 88, 119, 12, "other@nohost", 99:32, 0:32, 1:32>>).

%% Of a node of this name that is gone: node/1 of it is node().
earlier_pid() ->
    Local = term_to_binary(self()),
    Head = byte_size(Local) - 4,
    <<Before:Head/binary, Creation:32>> = Local,
    binary_to_term(<<Before/binary, (Creation + 1):32>>).

in_process(Fun) ->
    hd(parallel(1, fun(_) -> Fun() end)).

%% Runs Fun(1) to Fun(N) in a process each, all let go at once. Their results, in order; a process that
%% fails is the result {'DOWN', Reason}.
parallel(N, Fun) ->
    Workers = [spawn_monitor(worker(I, Fun)) || I <- lists:seq(1, N)],
    [Pid ! go || {Pid, _} <- Workers],
    [
        receive
            {'DOWN', Ref, process, Pid, {done, Result}} -> Result;
            {'DOWN', Ref, process, Pid, Reason} -> {'DOWN', Reason}
        after 120000 -> error({still_running, Pid, process_info(Pid, current_stacktrace)})
        end
     || {Pid, Ref} <- Workers
    ].

worker(I, Fun) ->
    fun() ->
        receive
            go -> exit({done, Fun(I)})
        end
    end.

stats(Keys, Role) ->
    Stats = erlmcp_queue_limits:get_role_stats(Role),
    [maps:get(Key, Stats) || Key <- Keys].

%% While nobody counts, and since the last reset, a role's numbers add up.
at_rest(Role) ->
    #{
        total_enqueued := Enqueued,
        total_dequeued := Dequeued,
        unmatched_dequeues := Unmatched,
        total_released := Released,
        current_depth := Depth
    } = erlmcp_queue_limits:get_role_stats(Role),
    Enqueued =:= Dequeued - Unmatched + Released + Depth.

%% While Fun runs, the caller gets {logged, Role, Refusals, Line} for each line about refusals, with its
%% level, text and time in milliseconds, and nothing is shown.
logged(Fun) ->
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    Before = quiet(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    loud(warning),
    try
        Fun()
    after
        ok = logger:remove_handler(?MODULE),
        [ok = logger:set_handler_config(Id, level, Level) || {Id, Level} <- Handlers],
        loud(Before)
    end.

log(#{level := Level, meta := #{role := Role, refusals := Refusals} = Meta} = Event, Handler) ->
    #{config := #{to := Pid}} = Handler,
    Text = unicode:characters_to_list(logger_formatter:format(Event, #{single_line => true, template => [msg]})),
    Pid ! {logged, Role, Refusals, #{level => Level, text => Text, time_ms => maps:get(time, Meta) div 1000}};
log(_, _) ->
    ok.

temp_dir() ->
    Name = ["erlmcp_native_", os:getpid(), $_, integer_to_list(erlang:unique_integer([positive]))],
    Dir = filename:join(os:getenv("TMPDIR", "/tmp"), lists:flatten(Name)),
    ok = filelib:ensure_path(Dir),
    Dir.

remove_dir(Dir) ->
    ok = file:del_dir_r(Dir).

%% Where the sources are.
root() ->
    root(filename:dirname(proplists:get_value(source, erlmcp_queue_limits:module_info(compile)))).

root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "Cargo.lock")) of
        true -> Dir;
        false when Dir =/= "/" -> root(filename:dirname(Dir))
    end.

%% All modules of the application.
ours() ->
    Sources = filelib:wildcard("**/*.erl", filename:join(root(), "erlang")),
    [list_to_atom(filename:basename(Source, ".erl")) || Source <- Sources].

%% The folders that these modules were loaded from, and this one.
ebins(Modules) ->
    lists:usort([filename:dirname(code:which(Module)) || Module <- [?MODULE | Modules]]).

%% Copies the application into Dir, with these files in its priv folder. Returns its ebin folder.
install(Dir, Priv) ->
    [Ebin, PrivDir] = [filename:join([Dir, "erlmcp_native", Sub]) || Sub <- ["ebin", "priv"]],
    ok = filelib:ensure_path(Ebin),
    ok = filelib:ensure_path(PrivDir),
    From = filename:dirname(code:which(erlmcp_queue_limits)),
    [copy(File, Ebin) || File <- filelib:wildcard(filename:join(From, "*.{app,beam}"))],
    [ok = file:write_file(filename:join(PrivDir, Name), Bytes) || {Name, Bytes} <- Priv],
    Ebin.

copy(File, Dir) ->
    {ok, _} = file:copy(File, filename:join(Dir, filename:basename(File))).

%% A silent node, of which nothing is known but its code path; it dies with its maker.
peer(Paths, Args) ->
    {ok, Peer, _} = peer:start_link(#{
        connection => standard_io,
        %% On a machine that has other things to do.
        wait_boot => 120000,
        args => lists:append([["-pa", Path] || Path <- Paths]) ++ ["-kernel", "logger_level", "none" | Args]
    }),
    Peer.
