-module(erlmcp_native_error).
-moduledoc """
Turns the reasons that natives give into the errors that callers see.

```
1> erlmcp_queue_limits:set_limit(session, -1).
** exception error: bad argument
     in function  erlmcp_queue_limits:set_limit/2
        called as erlmcp_queue_limits:set_limit(session,-1)
        *** argument 2: not an integer from 0 to 2^59 - 1
```
""".

-export([raise/2, format_error/2]).

-export_type([reason/0]).

-doc "What can be wrong with a call: what natives report, and what is checked before them.".
-type reason() :: erlmcp_native:fault() | bad_fun | bad_stats.

-doc """
Raises as if the called function had: `badarg` with an explanation, `system_limit` for one role too many,
and an exit with `noproc` if the service is not started. To be called last in that function.
""".
-spec raise(reason(), {module(), atom(), [term()]}) -> no_return().
raise(not_started, Call) ->
    exit({noproc, Call});
raise(Reason, {Module, Function, Args}) ->
    {current_stacktrace, [_Raise | Callers]} = process_info(self(), current_stacktrace),
    Info = [{error_info, #{module => ?MODULE, cause => Reason}}],
    erlang:raise(error, class(Reason), [{Module, Function, Args, Info} | Callers]).

class(too_many_roles) -> system_limit;
class(_) -> badarg.

-doc false.
-spec format_error(term(), erlang:stacktrace()) -> #{pos_integer() | general => unicode:chardata()}.
format_error(_, [{_, _, Args, Info} | _]) when is_list(Args) ->
    #{cause := Reason} = proplists:get_value(error_info, Info),
    #{position(Reason, length(Args)) => text(Reason)};
format_error(_, _) ->
    #{}.

position(bad_role, _) -> 1;
position(bad_switch, _) -> 1;
position(bad_owner, 1) -> 1;
position(bad_owner, _) -> 2;
position(bad_limit, _) -> 2;
position(bad_stats, _) -> 2;
position(bad_fun, _) -> 3;
position(_, _) -> general.

text(bad_role) -> "not an atom";
text(bad_switch) -> "not a boolean";
text(bad_owner) -> "neither a pid of this node nor an atom";
text(bad_limit) -> "not an integer from 0 to 2^59 - 1";
text(bad_stats) -> "not the statistics of a refusal";
text(bad_fun) -> "not a fun without arguments";
text(too_many_roles) -> "there are 1024 roles already";
text(Reason) -> atom_to_list(Reason).
