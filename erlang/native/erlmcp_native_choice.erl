-module(erlmcp_native_choice).
-moduledoc """
Takes one of several candidates: of two that are chosen at random the better one, or, where neither will have it, the
best of the others.

Two chosen at random do nearly as well as all, and cost the same for any number of candidates (M. Mitzenmacher, The
Power of Two Choices in Randomized Load Balancing, 2001).
""".

-export([any/5]).

-export_type([rank/0, offer/0, outcome/0]).

-doc "The lower it is the better. `first` is tried before all, so that it is told why not; `dead` after all.".
-type rank() :: first | non_neg_integer() | dead.
-doc "A candidate has it, or is full, or dead and passed over. Anything else is a fault, and the end.".
-type offer() :: ok | full | dead | Fault :: term().
-doc "This is an offer's outcome where it is final: one that is full has refused.".
-type outcome() :: ok | {refused, term()} | dead | Fault :: term().

-doc """
Offers it to the candidates until one has it. If all are full, the first of them is asked for good, and refuses unless
there is room by now; `{error, noproc}` if all are dead. So nobody refuses but once, and only where nobody has it.
`bad_list` for what is not a proper list of candidates, or has none: all are looked at for that, so that what is none is
told whichever are chosen.
""".
-spec any(
    term(),
    fun((term()) -> boolean()),
    fun((term()) -> rank()),
    fun((term()) -> offer()),
    fun((term()) -> outcome())
) ->
    {ok, Candidate :: term()} | {refused, term()} | {error, noproc} | bad_list | Fault :: term().
any(Candidates, Is, Rank, Offer, Ask) ->
    case count(Candidates, Is, 0) of
        none ->
            bad_list;
        0 ->
            bad_list;
        Many ->
            Places = chosen(Many),
            maybe
                {full, Full} ?= offered(best(at(Places, Candidates), Rank), Offer, []),
                {full, AllFull} ?= offered(best(others(Places, Candidates), Rank), Offer, Full),
                asked(lists:reverse(AllFull), Ask)
            end
    end.

count([Candidate | Others], Is, Many) ->
    case Is(Candidate) of
        true -> count(Others, Is, Many + 1);
        false -> none
    end;
count([], _, Many) ->
    Many;
count(_, _, _) ->
    none.

%% The places of two in the list, in its order. Without the caller's generator of random numbers, which is its own.
chosen(Many) when Many =< 2 ->
    lists:seq(1, Many);
chosen(Many) ->
    Number = erlang:unique_integer(),
    First = erlang:phash2({first, Number}, Many),
    Second = (First + 1 + erlang:phash2(Number, Many - 1)) rem Many,
    [min(First, Second) + 1, max(First, Second) + 1].

at(Places, Candidates) ->
    [lists:nth(Place, Candidates) || Place <- Places].

others(Places, Candidates) ->
    others(Places, 1, Candidates).

others([], _, Candidates) -> Candidates;
others([Place | Places], Place, [_ | Candidates]) -> others(Places, Place + 1, Candidates);
others(Places, Place, [Candidate | Candidates]) -> [Candidate | others(Places, Place + 1, Candidates)].

best(Candidates, Rank) ->
    Ranked = [{place(Rank(Candidate)), Candidate} || Candidate <- Candidates],
    [Candidate || {_, Candidate} <- lists:keysort(1, Ranked)].

place(first) -> -1;
%% An atom stands behind all numbers.
place(Rank) -> Rank.

%% The last one that is full comes first.
offered([], _, Full) ->
    {full, Full};
offered([Candidate | Others], Offer, Full) ->
    case Offer(Candidate) of
        ok -> {ok, Candidate};
        full -> offered(Others, Offer, [Candidate | Full]);
        dead -> offered(Others, Offer, Full);
        Fault -> Fault
    end.

asked([], _) ->
    {error, noproc};
asked([Candidate | Others], Ask) ->
    case Ask(Candidate) of
        ok -> {ok, Candidate};
        dead -> asked(Others, Ask);
        RefusedOrFault -> RefusedOrFault
    end.
