-module(erlmcp_overload_resident).
-moduledoc """
Reads how much of the node's memory is resident, for `m:erlmcp_overload_guard`, which must not wait for that: a file is
read by a dirty scheduler, and all of them may be busy.

It keeps the file open, since to open, read and close it are three ways to a dirty scheduler and back in place of one.
""".

-behaviour(gen_server).

-export([start_link/1, read/1]).
-export([init/1, handle_call/3, handle_cast/2]).

%% What is looked for stands in the first page.
-define(BYTES, 4096).

-record(state, {
    guard :: pid(),
    file :: file:filename(),
    device = none :: none | file:io_device()
}).

-doc "Starts the reader of a file below a root, linked to the caller, to whom it tells what it has read.".
-spec start_link(Root :: file:filename()) -> gen_server:start_ret().
start_link(Root) ->
    gen_server:start_link(?MODULE, {self(), Root}, [{spawn_opt, [{priority, high}]}]).

-doc "Has the file read. The caller is sent `{resident, Reader, Bytes | unknown}`.".
-spec read(pid()) -> ok.
read(Reader) ->
    gen_server:cast(Reader, read).

-doc false.
-spec init({pid(), file:filename()}) -> {ok, #state{}}.
init({Guard, Root}) ->
    {ok, #state{guard = Guard, file = Root ++ "/proc/self/status"}}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(read, State) ->
    #state{guard = Guard, device = Device} = Opened = opened(State),
    Text =
        case Device =/= none andalso file:pread(Device, 0, ?BYTES) of
            {ok, Bytes} -> Bytes;
            _NothingOrError -> ~""
        end,
    _ = Guard ! {resident, self(), erlmcp_overload_memory:resident(Text)},
    {noreply, Opened};
handle_cast(_Cast, State) ->
    {noreply, State}.

opened(#state{device = none, file = File} = State) ->
    case file:open(File, [raw, read, binary]) of
        {ok, Device} -> State#state{device = Device};
        {error, _} -> State
    end;
opened(State) ->
    State.
