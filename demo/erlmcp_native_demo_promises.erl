-module(erlmcp_native_demo_promises).
-moduledoc """
What is promised, what was measured, and whether that keeps it.

That no owner passed its limit is seen twice: by the library, and by the owners themselves, in their mailboxes. Of a
session, whose mailbox is limited, it is seen by itself, and by whoever made one stand still: the library's numbers of a
mailbox are of when it was last looked at.
""".

-export([verdicts/1]).

-export_type([facts/0]).

-import(erlmcp_native_demo_text, [short/1, ms/1]).
-import(erlmcp_native_demo_verdict, [verdict/6, most/3, bounded/4, least/4, timed/4, at_most/1]).

-doc """
These are the facts known at the end. `surge_per_s` was offered in the surge; mailboxes are the longest that were
seen; `library_refused` says what the library counted of what the demo's processes count themselves.
""".
-type facts() :: #{
    sample := erlmcp_native_demo_sample:sample(),
    compared := [erlmcp_native_demo_compare:result()],
    nodes := erlmcp_native_demo_nodes:result(),
    freed := [erlmcp_native_demo_fault:freed()],
    survived := [erlmcp_native_demo_fault:survived()],
    hung := [erlmcp_native_demo_fault:hung()],
    drowned := [erlmcp_native_demo_fault:drowned()],
    pressed := [erlmcp_native_demo_pressure:pressed()],
    cancelled := [erlmcp_native_demo_cancel:cancelled()],
    limits := erlmcp_native_demo_overload:limits(),
    library_refused := #{{erlmcp_queue_limits:class(), erlmcp_queue_limits:reason()} => pos_integer()},
    surge_per_s := non_neg_integer(),
    owner_mailbox := non_neg_integer(),
    service_mailbox := non_neg_integer()
}.

%% Answers, executors' news and control messages come on top of what is limited.
-define(BESIDES, 100).

-doc "Returns all promises with what was measured.".
-spec verdicts(facts()) -> [erlmcp_native_demo_verdict:verdict()].
verdicts(#{sample := #{roles := Roles, counts := Counts, control := Control, waits := Waits} = Sample} = Facts) ->
    #{freed := Freed, survived := Survived, owner_mailbox := OwnerMailbox, service_mailbox := ServiceMailbox} = Facts,
    #{surge_per_s := Surge, hung := Hung, drowned := Drowned, pressed := Pressed, library_refused := Library} = Facts,
    #{cancelled := Cancelled, compared := Compared, nodes := Nodes} = Facts,
    #{tally := Tally} = Sample,
    {[Session], Counted} = lists:partition(fun(#{role := Role}) -> Role =:= session end, Roles),
    #{alerts := #{raised := Raised, opened := Opened}, share := Share} = Sample,
    #{{ordinary, wait} := Accepted} = Waits,
    Worst = fun(What) -> worst([maps:get({What, Phase}, Waits) || Phase <- [fixed, wait, faults]]) end,
    #{answered := Answered, refused := Refused, lost := Lost, offered := Offered, finished := Finished} = Counts,
    #{control := Controls, unanswered := Unanswered, died := Died} = Counts,
    #{slo_violations := Violations, health_checks := Checks} = Control,
    [#{stats := Executors}] = [Role || #{role := tool_executor} = Role <- Roles],
    #{total_dequeued := Dequeued, unmatched_dequeues := Unmatched} = Executors,
    erlmcp_native_demo_compare_view:verdicts(Compared) ++ erlmcp_native_demo_nodes_view:verdicts(Nodes) ++
        [session(Session, Hung) | [depth(Role) || Role <- Counted]] ++
        [
            most("roles whose counts do not add up", length([Role || Role <- Counted, not adds_up(Role)]), 0),
            most("requests that are unaccounted for", abs(Offered - Answered - Refused - Lost), 0),
            %% One that is killed between working and counting makes a difference of one.
            most("executors' own count - the library's", abs(Finished - (Dequeued - Unmatched)), length(Freed)),
            most("refusals, own count - the library's", differences(Tally, Library), 0),
            granted(erlmcp_native_demo_tenants:granted(Sample), erlmcp_native_demo_tenants:allowed(Sample)),
            most("the others refused by their rate", limited(maps:remove(noisy_one, Tally)), 0),
            beside(erlmcp_native_demo_tenants:others(Sample)),
            as_before(Waits),
            most("taken, own count - the library's", erlmcp_native_demo_tenants:untold(Sample), 0),
            critical(Tally),
            timed("{wait, 500}: accepted waited at p99", Accepted, 650_000, 5_000),
            by_node(Tally),
            pressed("a node short of memory refuses in", refused_us, 1_000, Pressed),
            pressed("and when it is not, serves all in", served_us, 3_000, Pressed),
            freed(Freed),
            survived(Survived),
            drowned(Drowned),
            ended(Cancelled),
            most("cancelled tools that keep a place", length([C || #{freed := false} = C <- Cancelled]), 0),
            overtaken(Cancelled),
            bounded("health checks over 100 ms (SLO)", max(0, Violations - Died), 0, 1 + Checks div 50),
            bounded("control messages without an answer", Unanswered, 0, 1 + Controls div 50),
            timed("control message p99 under overload", Worst(control), 10_000, 1_000),
            timed("crossing to handler p99", Worst(crossing), 10_000, 1_000),
            least("alerts raised, breakers opened", min(Raised, Opened), [short(Raised), $/, short(Opened)], 1),
            most("alerts standing after recovery", length([R || #{level := L} = R <- Roles, L =/= ok]), 0),
            most("breakers open after recovery", length([R || #{breaker := open} = R <- Roles]), 0),
            most(
                "longest mailbox of an owner",
                OwnerMailbox,
                lists:max([Limit || #{limit := Limit} <- Roles]) + ?BESIDES
            ),
            bounded("longest mailbox of a library process", ServiceMailbox, 1_000, 20_000),
            least("requests/s offered in the surge", Surge, short(Surge), 90_000),
            share(Share)
        ].

session(#{limit := Limit, held := Held}, Hung) ->
    Full = lists:max([0 | [Depth || #{depth := Depth} <- Hung]]),
    highest("session: longest mailbox", Limit, Full, Held).

depth(#{role := Role, limit := Limit, held := Held, stats := #{max_depth := Max}}) ->
    highest([atom_to_list(Role), ": highest depth"], Limit, Max, Held).

highest(Name, Limit, Seen, Held) ->
    Met = Seen =< Limit andalso Held =< Limit,
    verdict(Name, at_most(Limit), [short(Seen), "/", short(Held)], Met, exact, Met).

adds_up(#{stats := Stats}) ->
    #{total_enqueued := Enqueued, total_dequeued := Dequeued, unmatched_dequeues := Unmatched} = Stats,
    #{total_released := Released, current_depth := Current} = Stats,
    Enqueued =:= Dequeued - Unmatched + Released + Current.

freed(Freed) ->
    Longest = lists:max([0 | [Us || #{us := Us} <- Freed]]),
    Gone = Freed =/= [] andalso lists:all(fun(#{left := Left}) -> Left =:= 0 end, Freed),
    Met = Gone andalso Longest =< 100_000,
    verdict("killed executors' counts are gone in", "100 ms", ms(Longest), Met, "<= 5 s", Gone).

survived([]) ->
    verdict("counts lost with erlmcp_queue_limits", "0", "not tried", false, exact, false);
survived(Survived) ->
    most("counts lost with erlmcp_queue_limits", lists:sum([Lost || #{counts_lost := Lost} <- Survived]), 0).

drowned(Drowned) ->
    Longest = lists:max([0 | [Us || #{us := Us} <- Drowned]]),
    Told = Drowned =/= [] andalso lists:all(fun(#{told := IsTold}) -> IsTold end, Drowned),
    Met = Told andalso Longest =< 20_000,
    verdict("a mailbox drowned by a bare !: told", "20 ms", ms(Longest), Met, "<= 5 s", Told).

%% A tenant that was refused nothing was not held to anything.
granted({Granted, Limited}, Allowed) ->
    Met = Granted =< Allowed andalso Limited > 0,
    verdict("granted to the noisy tenant", at_most(Allowed), short(Granted), Met, exact, Met).

limited(Tally) ->
    erlmcp_native_demo_tally:total(limited, Tally).

%% Whoever stands still too long refuses the others, too.
beside({Offered, Served}) ->
    Share = Served / max(1, Offered),
    Percent = io_lib:format("~.2f %", [Share * 100]),
    verdict("the others are served beside it", ">= 99.9 %", Percent, Share >= 0.999, ">= 50 %", Share >= 0.5).

as_before(#{{ordinary, tenants} := #{p99_us := Alone}, {ordinary, noisy} := #{p99_us := Beside}}) ->
    Measured = lists:join($/, [string:trim(ms(Us), trailing, " ms") || Us <- [Beside, Alone]]),
    Met = Beside =< 2 * Alone,
    verdict("and wait ms at p99: beside it/alone", "<= 2 x", Measured, Met, "<= 5 s", Beside =< 5_000_000).

ended(Cancelled) ->
    Seen = [Us || #{ended_us := Us} <- Cancelled, is_integer(Us)],
    Did = Seen =/= [] andalso length(Seen) =:= length(Cancelled),
    Longest = lists:max([0 | Seen]),
    Measured = case Did of true -> ms(Longest); false -> "not seen" end,
    Met = Did andalso Longest =< 10_000,
    verdict("a tool that runs, cancelled: ends in", ms(10_000), Measured, Met, "<= 15 s", Did).

%% Of an executor that had nothing else to do it might have begun.
overtaken(Cancelled) ->
    Whats = lists:usort([What || #{overtaken := What} <- Cancelled]),
    Measured = case Whats of [never_began] -> "never began"; [ended] -> "ended"; _ -> "not seen" end,
    Ok = Measured =/= "not seen",
    verdict("one whose cancel overtook its call", "no start", Measured, Whats =:= [never_began], "no run", Ok).

%% By class and reason.
differences(Tally, Library) ->
    Own = erlmcp_native_demo_tally:reasons(maps:keys(Tally), Tally),
    Keys = lists:usort(maps:keys(Own) ++ maps:keys(Library)),
    lists:sum([abs(maps:get(Key, Own, 0) - maps:get(Key, Library, 0)) || Key <- Keys]).

%% Whoever stands still too long refuses critical work as well, but never as much of it.
critical(Tally) ->
    Share = fun(Class) ->
        Counts = [maps:get(Class, maps:get(Phase, Tally)) || Phase <- [fixed, wait]],
        lists:sum([Refused || #{refused := Refused} <- Counts]) /
            max(1, lists:sum([Offered || #{offered := Offered} <- Counts]))
    end,
    {Critical, Sheddable} = {Share(critical), Share(sheddable)},
    Percent = io_lib:format("~.2f %", [Critical * 100]),
    Bound = io_lib:format("< ~.1f %", [Sheddable * 100]),
    Less = Critical < Sheddable orelse Sheddable == 0,
    verdict("critical ones refused in overload", "<= 0.1 %", Percent, Critical =< 0.001, Bound, Less).

by_node(Tally) ->
    most("critical ones refused by the node", erlmcp_native_demo_tally:total(node, critical, Tally), 0).

pressed(Name, Key, TargetMs, Pressed) ->
    Seen = [Us || #{Key := Us} <- Pressed, is_integer(Us)],
    Was = Seen =/= [] andalso length(Seen) =:= length(Pressed),
    Longest = lists:max([0 | Seen]),
    Measured = case Was of true -> ms(Longest); false -> "not seen" end,
    verdict(Name, ms(TargetMs * 1000), Measured, Was andalso Longest =< TargetMs * 1000, "<= 15 s", Was).

worst(Waits) ->
    lists:last(lists:sort(fun(#{p99_us := A}, #{p99_us := B}) -> A =< B end, Waits)).

share(Share) ->
    Percent = io_lib:format("~.1f %", [Share * 100]),
    verdict("the demo's own share of the CPU", "< 5 %", Percent, Share < 0.05, "<= 25 %", Share =< 0.25).
