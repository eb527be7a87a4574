-module(erlmcp_native_http_drill).
-moduledoc """
The answers that lead from a verdict to the process: a role's owners, why one refuses, what an owner is doing, what a
component of the control plane fails of.

All owners are looked at for the first two, which `m:erlmcp_native_scan` does once for whoever asks at the same time. An
answer is bounded: rows and lines are few, names and texts are cut.
""".

-export([queues/1, why/1, owner/1, component/1, of_role/2]).

-define(DEFAULT_TOP, 10).
%% Among so many a text is looked for.
-define(MAX_ROWS, 1000).
-define(MAX_WORDS, 2000).

-doc "Answers with the first owners by a rank, of a role or of all roles.".
-spec queues(#{role => erlmcp_queue_limits:role(), atom() => term()}) -> erlmcp_native_http_reply:answer().
queues(Values) ->
    Top = maps:get(top, Values, ?DEFAULT_TOP),
    By = maps:get(by, Values, utilization),
    Rows = case Values of #{text := _} -> ?MAX_ROWS; #{} -> Top end,
    case first(Values, By, Rows) of
        {ok, Found} ->
            Shown = lists:sublist(having(Values, erlmcp_native_http_json:queues(Found)), Top),
            erlmcp_native_http_reply:json(200, of_role(Values, #{top => Top, by => By, queues => Shown}));
        Error ->
            failed(Error)
    end.

first(#{role := Role}, utilization, Rows) -> erlmcp_native_scan:fullest({role, Role}, Rows);
first(#{role := Role}, By, Rows) -> erlmcp_native_scan:first(Role, By, Rows);
first(#{}, utilization, Rows) -> erlmcp_native_scan:fullest(all, Rows);
first(#{}, _, _) -> {error, {~"by", ~"it is for the owners of a role: say which"}}.

having(#{text := Text}, Rows) ->
    Wanted = string:lowercase(Text),
    [Row || #{~"process" := Name} = Row <- Rows, string:find(string:lowercase(Name), Wanted) =/= nomatch];
having(#{}, Rows) ->
    Rows.

-doc "Answers with why a role refuses, or an owner in it.".
-spec why(#{role => erlmcp_queue_limits:role(), atom() => term()}) -> erlmcp_native_http_reply:answer().
why(#{role := Role, owner := Text}) ->
    case erlmcp_native_http_names:owner(Text) of
        {ok, Owner} -> said({owner, Role, Owner}, #{role => Role}, #{owner => text(Owner)});
        {error, Reason} -> erlmcp_native_http_reply:problem({~"owner", Reason})
    end;
why(#{role := Role}) ->
    said({role, Role}, #{role => Role}, #{owner => null});
why(#{}) ->
    missing(~"role").

said(Subject, Of, Fields) ->
    case erlmcp_native_scan:why(Subject) of
        {ok, {Verdict, Lines}} ->
            Said = #{verdict => words(Verdict), lines => [#{name => words(N), words => words(W)} || {N, W} <- Lines]},
            erlmcp_native_http_reply:json(200, of_role(Of, maps:merge(Fields, Said)));
        {ok, none} ->
            Said = #{verdict => ~"nothing was ever counted for this role", lines => []},
            erlmcp_native_http_reply:json(200, of_role(Of, maps:merge(Fields, Said)));
        Error ->
            failed(Error)
    end.

words(Chars) ->
    unicode:characters_to_binary(string:slice(Chars, 0, ?MAX_WORDS)).

-doc "Answers with what is known of an owner: of its process, if it has one, and of what waits for it.".
-spec owner(#{role => erlmcp_queue_limits:role(), atom() => term()}) -> erlmcp_native_http_reply:answer().
owner(#{pid := Text} = Values) ->
    case erlmcp_native_http_names:owner(Text) of
        {ok, Owner} ->
            {State, Words, Process} = process(Owner),
            Fields = #{
                owner => text(Owner), state => State, words => Words, process => Process,
                queues => waiting(Owner, Process, Values)
            },
            erlmcp_native_http_reply:json(200, of_role(Values, Fields));
        {error, Reason} ->
            erlmcp_native_http_reply:problem({~"pid", Reason})
    end;
owner(#{}) ->
    missing(~"pid").

process(Name) when is_atom(Name) ->
    case erlmcp_native_pid:named({name, Name}) of
        Pid when is_pid(Pid) ->
            {State, Words, Process} = process(Pid),
            {State, <<"it is a name, and that of the process ", (text(Pid))/binary, "; ", Words/binary>>, Process};
        _NobodyOrPort ->
            {name, ~"it is a name, and no process has it", null}
    end;
process(Pid) ->
    case erlmcp_overload_process:look(Pid) of
        {ok, Seen} -> {alive, doing(Seen), erlmcp_native_json:plain(Seen)};
        dead -> {dead, ~"it has ended, and holds nothing any more", null};
        silent -> {silent, ~"it lives, but said nothing for two seconds: it is in a native, or has no time", null};
        too_large -> {too_large, ~"it lives, but what it was started with takes more than 8 MB, and is not read", null};
        no_room -> {no_room, ~"nobody could ask it: this node has no room for one more process", null}
    end.

doing(#{status := waiting, message_queue_len := 0}) -> ~"it is alive, and waits for messages";
doing(#{status := waiting}) -> ~"it is alive, and waits for a message that is none of those in its mailbox";
doing(#{status := suspended}) -> ~"it is suspended: it does nothing until whoever did that resumes it";
doing(#{status := garbage_collecting}) -> ~"it is alive, and collects garbage";
doing(_) -> ~"it is alive, and at work".

waiting(Owner, Process, Values) ->
    case erlmcp_native:limits_get_limits(own) of
        #{} = Limits ->
            Wanted = maps:get(role, Values, none),
            [
                erlmcp_native_json:plain(Row)
             || Role <- lists:sort(maps:keys(Limits)),
                #{depth := Depth} = Row <- [row(Role, Owner, Process)],
                Depth =/= 0 orelse Role =:= Wanted
            ];
        _NotStarted ->
            []
    end.

row(Role, Owner, Process) ->
    case {erlmcp_native:limits_depth(own, Role, Owner), erlmcp_native:limits_owner(own, Role, Owner)} of
        {mailbox, {Limit, _, _, _, _}} ->
            #{role => Role, kind => mailbox, depth => in_mailbox(Process), limit => Limit};
        {Depth, {Limit, DrainPerS, WaitMs, SojournMs, StalledMs}} when is_integer(Depth) ->
            #{
                role => Role,
                kind => counted,
                depth => Depth,
                limit => Limit,
                drain_per_s => DrainPerS,
                wait_ms => WaitMs,
                sojourn_ms => SojournMs,
                stalled_ms => StalledMs
            };
        _NotStarted ->
            none
    end.

in_mailbox(#{~"message_queue_len" := Length}) -> Length;
in_mailbox(null) -> undefined.

-doc "Answers with a component of the control plane: what it was sent, how long that took, of what its handler failed.".
-spec component(#{id => binary(), atom() => term()}) -> erlmcp_native_http_reply:answer().
component(#{id := Name}) ->
    case erlmcp_native_metrics:snapshot() of
        #{control := undefined} -> erlmcp_native_http_reply:not_started(erlmcp_control_plane);
        #{at_ms := AtMs, control := #{by_component := Rows}} ->
            case erlmcp_native_http_names:component(Name, maps:keys(Rows)) of
                {ok, Id} ->
                    #{Id := Row} = Rows,
                    Errors = errors(erlmcp_native:control_errors(Id)),
                    Shown = (erlmcp_native_http_json:component(Row))#{at_ms => AtMs, id => text(Id)},
                    erlmcp_native_http_reply:json(200, maps:merge(Shown, Errors));
                {error, Problem} -> erlmcp_native_http_reply:problem(Problem)
            end
    end;
component(#{}) ->
    missing(~"id").

errors({Crashes, Last}) -> #{crashes => Crashes, errors => [#{at_ms => AtMs, reason => Text} || {AtMs, Text} <- Last]};
errors(_GoneMeanwhile) -> #{crashes => null, errors => []}.

-doc "Returns an answer's fields with the time, and with the role that was asked for.".
-spec of_role(#{role => erlmcp_queue_limits:role(), atom() => term()}, map()) -> map().
of_role(Values, Fields) ->
    Role = case Values of #{role := Given} -> text(Given); #{} -> null end,
    Fields#{at_ms => erlang:system_time(millisecond), role => Role}.

text(Pid) when is_pid(Pid) -> list_to_binary(pid_to_list(Pid));
text(Atom) -> erlmcp_native_http_json:text(Atom).

missing(Parameter) ->
    erlmcp_native_http_reply:problem({Parameter, ~"it is missing"}).

failed({error, busy}) -> erlmcp_native_http_reply:failure(503, ~"too many look at all queues already");
failed({error, {not_started, Service}}) -> erlmcp_native_http_reply:not_started(Service);
failed({error, Problem}) -> erlmcp_native_http_reply:problem(Problem).
