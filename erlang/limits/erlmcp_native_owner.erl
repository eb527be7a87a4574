-module(erlmcp_native_owner).
-moduledoc """
Who is an owner, whom a name stands for, and which of several is taken. For `m:erlmcp_queue_limits`.

The library knows pids and atoms. An owner by its name is what it does not know, so a name is looked up only where the
library has said `bad_owner`: pids and atoms pay nothing for it.
""".

-export([is_owner/1, by_name/4, by_name/5, counted/6, any/3, unless_earlier/2]).

-import(erlmcp_native_error, [raise/2]).

-doc "Tells whether a term is an owner: a pid of this node, an atom, or `{name, Atom}`.".
-spec is_owner(term()) -> boolean().
is_owner(Owner) ->
    is_atom(Owner) orelse erlmcp_native_pid:is_local(Owner) orelse erlmcp_native_pid:is_name(Owner).

-doc """
Goes on after a fault with the pid of an owner that was given by its name, or with this answer if nobody is registered
so. Raises the fault if it is another, or no such owner. It is to be called last in the function that was called.
""".
-spec by_name(erlmcp_native_error:reason(), term(), IfNobody, fun((pid()) -> Result), Call) -> IfNobody | Result when
    Call :: {module(), atom(), [term()]}.
by_name(Fault, Owner, IfNobody, Operation, Call) ->
    Either = fun
        (nobody) -> IfNobody;
        (Pid) -> Operation(Pid)
    end,
    by_name(Fault, Owner, Either, Call).

-doc "Does what `by_name/5` does, with a function that is called with `nobody`, too.".
-spec by_name(erlmcp_native_error:reason(), term(), fun((pid() | nobody) -> Result), Call) -> Result when
    Call :: {module(), atom(), [term()]}.
by_name(bad_owner, {name, _} = Owner, Operation, Call) ->
    case erlmcp_native_pid:is_name(Owner) andalso erlmcp_native_pid:named(Owner) of
        Wrong when Wrong =:= false; Wrong =:= port -> raise(bad_owner, Call);
        PidOrNobody -> Operation(PidOrNobody)
    end;
by_name(Fault, _, _, Call) ->
    raise(Fault, Call).

-doc """
Does what `by_name/5` does for an operation that counts in a role, or would if somebody were registered: raises what is
wrong with the role.
""".
-spec counted(erlmcp_native_error:reason(), term(), term(), fun(() -> Result), fun((pid()) -> Result), Call) ->
    Result
when
    Call :: {module(), atom(), [term()]}.
counted(Fault, Role, Owner, IfNobody, Operation, Call) ->
    Either = fun
        (nobody) -> nobody(erlmcp_native:limits_check_role(own, Role), IfNobody, Call);
        (Pid) -> Operation(Pid)
    end,
    by_name(Fault, Owner, Either, Call).

nobody(ok, IfNobody, _) -> IfNobody();
nobody(Fault, _, Call) -> raise(Fault, Call).

-doc "Takes a place for one of several owners in a role, see `erlmcp_queue_limits:try_enqueue_any/3`.".
-spec any(erlmcp_queue_limits:role(), term(), term()) ->
    {ok, erlmcp_queue_limits:owner()}
    | {refused, erlmcp_queue_limits:refusal()}
    | {error, noproc}
    | erlmcp_native_error:reason().
any(Role, Owners, Options) ->
    Rank = fun(Owner) -> rank(Role, Owner) end,
    Offer = fun(Owner) -> living(Owner, fun(Key) -> erlmcp_native:limits_offer(own, Role, Key, Options) end) end,
    Ask = fun(Owner) -> living(Owner, fun(Key) -> erlmcp_native:limits_try_enqueue(own, Role, Key, Options) end) end,
    case erlmcp_native_choice:any(Owners, fun is_candidate/1, Rank, Offer, Ask) of
        bad_list ->
            unless_earlier(Role, no_owners);
        {error, noproc} = Nobody ->
            unless_earlier(Role, erlmcp_native_request:judged(Options, Nobody));
        bad_option ->
            case erlmcp_native_request:map(Options) of
                {ok, Map} -> any(Role, Owners, Map);
                Bad -> Bad
            end;
        Outcome ->
            Outcome
    end.

is_candidate({name, _} = Name) -> erlmcp_native_pid:is_name(Name) andalso erlmcp_native_pid:named(Name) =/= port;
is_candidate(Owner) -> is_owner(Owner).

%% How much waits there. Whoever cannot be asked is tried first, so that it is told why.
rank(Role, Owner) ->
    case key(Owner) of
        nobody -> dead;
        port -> first;
        {ok, Key} ->
            case erlmcp_native:limits_depth(own, Role, Key) of
                Depth when is_integer(Depth) -> Depth;
                _MailboxOrFault -> first
            end
    end.

living(Owner, Operation) ->
    case key(Owner) of
        nobody -> dead;
        port -> no_owners;
        {ok, Key} -> Operation(Key)
    end.

%% What a living owner is counted under.
key({name, _} = Name) ->
    case erlmcp_native_pid:named(Name) of
        Pid when is_pid(Pid) -> {ok, Pid};
        NobodyOrPort -> NobodyOrPort
    end;
key(Name) when is_atom(Name) ->
    {ok, Name};
key(Pid) ->
    case erlmcp_native:is_living(Pid) of
        false -> nobody;
        _TrueOrFault -> {ok, Pid}
    end.

-doc "Returns this answer, unless the library has something to say of the service or of the role, which comes first.".
-spec unless_earlier(term(), Answer) -> Answer | erlmcp_native_error:reason().
unless_earlier(Role, Answer) ->
    case erlmcp_native:limits_check_role(own, Role) of
        ok -> Answer;
        Earlier -> Earlier
    end.
