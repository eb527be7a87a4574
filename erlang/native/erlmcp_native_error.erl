-module(erlmcp_native_error).
-moduledoc """
Turns the reasons that natives give into the errors that callers see.

```erlang
1> erlmcp_queue_limits:set_limit(session, -1).
** exception error: bad argument
     in function  erlmcp_queue_limits:set_limit/2
        called as erlmcp_queue_limits:set_limit(session,-1)
        *** argument 2: neither an integer from 0 to 2^59 - 1 nor infinity
```
""".

-export([raise/2, library/0, is_normal/1, format_error/2]).

-export_type([reason/0]).

-doc "A reason says what is wrong with a call: natives report it, or it was found before they were asked.".
-type reason() ::
    erlmcp_native:fault()
    | bad_action
    | bad_alias
    | bad_answer
    | bad_callbacks
    | bad_check
    | bad_format
    | bad_fun
    | bad_handler
    | bad_interval
    | bad_messages
    | bad_node
    | bad_number
    | bad_pid
    | {bad_option, erlmcp_native_options:problem()}
    | bad_rate_name
    | bad_refusal
    | bad_result
    | bad_scope
    | bad_sender
    | bad_span
    | bad_stats
    | no_owners
    | no_priority
    | too_large
    | no_processes.

-doc """
Raises as if the called function had: `badarg` with an explanation, `system_limit` for one role, or one rate, too many,
and an exit with `noproc` if the service is not started. It is to be called last in that function.
""".
-spec raise(reason(), {module(), atom(), [term()]}) -> no_return().
raise(not_started, Call) ->
    exit({noproc, Call});
raise(Reason, {Module, Function, Args}) ->
    {current_stacktrace, [_Raise | Callers]} = process_info(self(), current_stacktrace),
    Info = [{error_info, #{module => ?MODULE, cause => Reason}}],
    erlang:raise(error, class(Reason), [{Module, Function, Args, Info} | Callers]).

class(too_many_roles) -> system_limit;
class(too_many_rates) -> system_limit;
class(_) -> badarg.

-doc """
Loads the native library, if that has not been done, and the module of the natives where somebody has deleted it. Its
error is fit for the start of a service.
""".
-spec library() -> ok | {error, {native_library, term()}}.
library() ->
    maybe
        %% In embedded mode the runtime loads nothing by itself.
        true ?= erlang:module_loaded(erlmcp_native) orelse code:load_file(erlmcp_native),
        loaded()
    else
        {module, _} -> loaded();
        {error, Reason} -> {error, {native_library, Reason}}
    end.

loaded() ->
    case erlmcp_native:load() of
        ok -> ok;
        {error, Reason} -> {error, {native_library, Reason}}
    end.

-doc "Tells whether a service that ends with this reason was stopped, and not lost.".
-spec is_normal(term()) -> boolean().
is_normal(normal) -> true;
is_normal(shutdown) -> true;
is_normal({shutdown, _}) -> true;
is_normal(_) -> false.

-doc false.
-spec format_error(term(), erlang:stacktrace()) -> #{pos_integer() | general => unicode:chardata()}.
format_error(_, [{_, _, Args, Info} | _]) when is_list(Args) ->
    #{cause := Reason} = proplists:get_value(error_info, Info),
    #{position(Reason, length(Args)) => text(Reason)};
format_error(_, _) ->
    #{}.

position(bad_owner, 1) -> 1;
position(bad_id, 3) -> 2;
position(bad_reason, Arity) -> Arity;
position(bad_process, 1) -> 1;
position(bad_cost, 1) -> 1;
position(too_large, 1) -> 1;
position(bad_stats, 1) -> 1;
position(bad_format, Arity) -> Arity;
position({bad_option, _}, Arity) -> Arity;
position(Reason, _) -> position(Reason).

position(bad_role) -> 1;
position(role_reserved) -> 1;
position(bad_name) -> 1;
position(bad_rate_name) -> 1;
position(bad_items) -> 1;
position(bad_cost) -> 3;
position(bad_switch) -> 1;
position(bad_component) -> 1;
position(bad_alias) -> 1;
position(bad_permit) -> 1;
position(bad_id) -> 1;
position(bad_dequeue) -> 3;
position(bad_destination) -> 1;
position(bad_process) -> 2;
position(no_processes) -> 2;
position(no_owners) -> 2;
position(wrong_kind) -> 2;
position(bad_timeout) -> 4;
position(bad_owner) -> 2;
position(bad_limit) -> 2;
position(bad_wait) -> 2;
position(bad_stats) -> 2;
position(bad_message) -> 2;
position(bad_messages) -> 2;
position(too_large) -> 2;
position(bad_check) -> 2;
position(bad_action) -> 2;
position(bad_handler) -> 2;
position(bad_callbacks) -> 1;
position(bad_interval) -> 1;
position(bad_node) -> 1;
position(bad_number) -> 1;
position(bad_refusal) -> 1;
position(bad_result) -> 1;
position(bad_answer) -> 2;
position(bad_token) -> 1;
position(bad_pid) -> 1;
position(bad_fun) -> 3;
position(bad_sender) -> 3;
position(bad_span) -> 1;
position(bad_scope) -> 2;
position(_) -> general.

text(bad_role) -> "not an atom";
text(bad_name) -> "not the name of a rate that is defined";
text(bad_rate_name) -> "not an atom";
text(bad_cost) -> "not an integer from 1 to 2^64 - 1";
text(bad_items) -> "not a list of at most 64 {Name, Key, Cost}";
text(bad_rate) -> "not a rate that the library has room for";
text(bad_switch) -> "not a boolean";
text(bad_component) -> "not an atom, nor, where a message is sent, {Id, Node}";
text(bad_alias) -> "not a live priority alias of the calling process";
text(bad_fate) -> "not what may become of a message to another node";
text(bad_messages) -> "not a list";
text(too_large) -> "more than 32768 bytes, which is too much for a priority message to another node";
text(bad_destination) -> "not a priority alias, nor a local process that has made one";
text(bad_owner) -> "neither a pid of this node, nor an atom, nor {name, Atom} where no port is registered so";
text(bad_permit) -> "not a permit";
text(bad_pid) -> "not a pid of this node";
text(bad_token) -> "not a token of erlmcp_control_cancel:new/1";
text(bad_id) -> "more than 2 MiB in the external term format";
text(bad_reason) -> "more than 2 MiB in the external term format";
text(bad_dequeue) -> "neither dropped nor a map of options";
text(no_owners) -> "not a list of at least one owner, each a pid of this node, an atom or {name, Atom}";
text(bad_process) -> "neither a process of this node nor the name of one";
text(no_processes) -> "not a list of at least one process of this node, or name of one";
text(wrong_kind) ->
    "its mailbox is what is limited in this role; or, where a mailbox is asked for, its depth is counted";
text(role_reserved) ->
    "this role is the library's own: mailbox while all mailboxes are watched, see "
    "erlmcp_overload_mailbox:watch_mailboxes/1, and node while the node is guarded, see erlmcp_overload_node";
text(role_in_use) -> "the role mailbox has owners, which are to be forgotten before it is that of all mailboxes";
text(bad_timeout) -> "neither an integer from 0 to 2^32 - 1 nor infinity";
text(bad_limit) -> "neither an integer from 0 to 2^59 - 1 nor infinity";
text(bad_wait) ->
    "not {wait, Milliseconds, #{min => Min, max => Max}} with 1 to 1000000 ms and 1 =< Min =< Max =< 4194303, "
    "which without one is the limit before";
text(bad_stats) -> "not the statistics of a refusal";
text(bad_refusal) -> "neither the statistics of a refusal nor those of a rate, alone, tagged or in {error, _}";
text(bad_result) -> "neither a refusal, nor what a rate let in, nor a list of maps with a name and what is remaining";
text(bad_message) -> "not a control message";
text(bad_check) -> "not one of liveness, readiness, full";
text(bad_action) -> "not one of open, close, half_open, query";
text(bad_handler) -> "neither a fun of one argument, {Module, Function}, {Module, Function, Args} nor a map of options";
text({bad_option, Problem}) -> erlmcp_native_options:explain(Problem);
text(bad_answer) -> "neither ok nor {error, Reason}";
text(bad_interval) -> "not an integer from 1 to 2^32 - 1";
text(bad_callbacks) -> "not a module that exports the callbacks of erlmcp_overload_handler";
text(bad_node) -> "not an atom; nor is what is called a module, a function and a list of arguments";
text(bad_number) -> "not an integer from 0";
text(bad_format) -> "neither text nor openmetrics";
text(bad_fun) -> "not a fun without arguments";
text(bad_sender) -> "not a pid";
text(bad_span) -> "neither last_10_minutes nor last_day";
text(bad_scope) -> "neither all nor {role, Atom}";
text(no_priority) -> "this runtime has no priority aliases: OTP 28 is needed";
text(too_many_components) -> "there are 1024 components already";
text(too_many_rates) -> "there are 1024 rates already, or 64 of scope cluster";
text(too_many_roles) -> "there are 1024 roles already";
text(Reason) -> atom_to_list(Reason).
