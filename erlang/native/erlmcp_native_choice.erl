-module(erlmcp_native_choice).
-moduledoc """
Takes one of several candidates: of two that are chosen at random the better one, or, where neither will have it, the
best of the others.

Two chosen at random do nearly as well as all, and cost the same for any number of candidates (M. Mitzenmacher, The
Power of Two Choices in Randomized Load Balancing, 2001).
""".

-export([any/4]).

-export_type([rank/0, outcome/0]).

-doc "The lower it is the better. `first` is tried before all, so that it is told why not; `dead` after all.".
-type rank() :: first | non_neg_integer() | dead.
-doc "A candidate has it, or is full, or dead and passed over. Anything else is a fault, and the end.".
-type outcome() :: ok | {refused, term()} | dead | Fault :: term().

-doc """
Tries the candidates until one has it. Refused, as the first one was, if all are full, and `{error, noproc}` if all are
dead. `bad_list` for what is not a proper list of candidates, or has none: all are looked at for that, so that what is
none is told whichever are chosen.
""".
-spec any(term(), fun((term()) -> boolean()), fun((term()) -> rank()), fun((term()) -> outcome())) ->
    {ok, Candidate :: term()} | {refused, term()} | {error, noproc} | bad_list | Fault :: term().
any(Candidates, Is, Rank, Attempt) ->
    case count(Candidates, Is, 0) of
        none ->
            bad_list;
        0 ->
            bad_list;
        Many ->
            {Chosen, Others} = chosen(Candidates, Many),
            case first(best(Chosen, Rank), Attempt, {error, noproc}) of
                {error, noproc} = Nobody -> first(best(Others, Rank), Attempt, Nobody);
                {refused, _} = Refused -> first(best(Others, Rank), Attempt, Refused);
                TakenOrFault -> TakenOrFault
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

%% Without the caller's generator of random numbers, which is its own.
chosen(Candidates, Many) when Many =< 2 ->
    {Candidates, []};
chosen(Candidates, Many) ->
    Number = erlang:unique_integer(),
    First = erlang:phash2({first, Number}, Many),
    Second = (First + 1 + erlang:phash2(Number, Many - 1)) rem Many,
    {[lists:nth(First + 1, Candidates), lists:nth(Second + 1, Candidates)], Candidates}.

best(Candidates, Rank) ->
    Ranked = [{place(Rank(Candidate)), Candidate} || Candidate <- Candidates],
    [Candidate || {_, Candidate} <- lists:keysort(1, Ranked)].

place(first) -> -1;
%% An atom stands behind all numbers.
place(Rank) -> Rank.

first([], _, Outcome) ->
    Outcome;
first([Candidate | Others], Attempt, Outcome) ->
    case Attempt(Candidate) of
        ok -> {ok, Candidate};
        dead -> first(Others, Attempt, Outcome);
        {refused, _} = Refused when Outcome =:= {error, noproc} -> first(Others, Attempt, Refused);
        {refused, _} -> first(Others, Attempt, Outcome);
        Fault -> Fault
    end.
