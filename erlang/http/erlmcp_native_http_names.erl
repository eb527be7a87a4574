-module(erlmcp_native_http_names).
-moduledoc """
What the names in a request stand for: roles, owners and components that there are. Whatever is asked for, no atom is
made of it.
""".

-export([role/1, owner/1, component/2]).

-import(erlmcp_native_http_query, [printable/1]).

-doc "Returns the role that has this name.".
-spec role(binary()) ->
    {ok, erlmcp_queue_limits:role()} | {error, erlmcp_native_http_query:problem() | {not_started, module()}}.
role(Name) ->
    try erlmcp_native_http_query:known(Name, maps:keys(erlmcp_queue_limits:get_all_limits())) of
        {ok, Role} -> {ok, Role};
        error -> {error, {~"role", <<"there is no role ", (printable(Name))/binary>>}}
    catch
        exit:{noproc, _} -> {error, {not_started, erlmcp_queue_limits}}
    end.

-doc """
Returns the process of this node, alive or dead, that is written so, as in `<0.90.0>`; or else the atom that is written
so, if there is one.
""".
-spec owner(binary()) -> {ok, erlmcp_queue_limits:owner_key()} | {error, Reason :: binary()}.
owner(Text) ->
    case pid(Text) of
        {local, Pid} -> {ok, Pid};
        remote -> {error, ~"it is a process of another node: ask the page of that node"};
        none -> atom(Text)
    end.

atom(Text) ->
    try
        {ok, binary_to_existing_atom(Text)}
    catch
        error:_ -> {error, <<"nobody here has the name ", (printable(Text))/binary>>}
    end.

%% `<Node.Number.Serial>`, of which only those of this node begin with 0.
pid(Text) ->
    Digits = "(0|[1-9][0-9]{0,9})",
    case re:run(Text, ["^<", Digits, "\\.", Digits, "\\.", Digits, ">$"], [{capture, [1], binary}, dollar_endonly]) of
        {match, [~"0"]} -> local(Text);
        {match, _} -> remote;
        nomatch -> none
    end.

local(Text) ->
    try list_to_pid(binary_to_list(Text)) of
        Pid -> case erlmcp_native_pid:is_local(Pid) of true -> {local, Pid}; false -> remote end
    catch
        error:badarg -> none
    end.

-doc "Returns the component that has this name.".
-spec component(binary(), [erlmcp_control_plane:component_id()]) ->
    {ok, erlmcp_control_plane:component_id()} | {error, erlmcp_native_http_query:problem()}.
component(Name, Ids) ->
    case erlmcp_native_http_query:known(Name, Ids) of
        {ok, Id} -> {ok, Id};
        error -> {error, {~"id", <<"there is no component ", (printable(Name))/binary>>}}
    end.
