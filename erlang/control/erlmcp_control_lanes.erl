-module(erlmcp_control_lanes).
-moduledoc """
What waits for a handler: a queue for each type of control message. The most urgent type goes first, and within a type
the first in goes first out.
""".

-export([new/0, is_empty/1, in/2, out/1]).

-export_type([lanes/0]).

-include("erlmcp_control_request.hrl").

-record(lanes, {
    count = 0 :: non_neg_integer(),
    circuit_breaker = queue:new() :: queue:queue(#control_request{}),
    health_check = queue:new() :: queue:queue(#control_request{}),
    drain_session = queue:new() :: queue:queue(#control_request{}),
    cancel_task = queue:new() :: queue:queue(#control_request{})
}).

-doc "Lanes are four queues, or nothing at all while those are empty: there are many components, and little waits.".
-opaque lanes() :: none | #lanes{}.

-doc "Makes lanes in which nothing waits.".
-spec new() -> lanes().
new() ->
    none.

-doc "Tells whether nothing waits.".
-spec is_empty(lanes()) -> boolean().
is_empty(Lanes) ->
    Lanes =:= none.

-doc "Puts a message behind those of its type.".
-spec in(#control_request{}, lanes()) -> lanes().
in(Request, none) ->
    in(Request, #lanes{});
in(#control_request{type = circuit_breaker} = Request, #lanes{count = Count, circuit_breaker = Lane} = Lanes) ->
    Lanes#lanes{count = Count + 1, circuit_breaker = queue:in(Request, Lane)};
in(#control_request{type = health_check} = Request, #lanes{count = Count, health_check = Lane} = Lanes) ->
    Lanes#lanes{count = Count + 1, health_check = queue:in(Request, Lane)};
in(#control_request{type = drain_session} = Request, #lanes{count = Count, drain_session = Lane} = Lanes) ->
    Lanes#lanes{count = Count + 1, drain_session = queue:in(Request, Lane)};
in(#control_request{type = cancel_task} = Request, #lanes{count = Count, cancel_task = Lane} = Lanes) ->
    Lanes#lanes{count = Count + 1, cancel_task = queue:in(Request, Lane)}.

-doc "Takes the most urgent message out; `none` if nothing waits.".
-spec out(lanes()) -> {#control_request{}, lanes()} | none.
out(none) ->
    none;
out(#lanes{count = Count, circuit_breaker = B, health_check = H, drain_session = D, cancel_task = C} = Lanes) ->
    maybe
        {empty, _} ?= queue:out(B),
        {empty, _} ?= queue:out(H),
        {empty, _} ?= queue:out(D),
        {{value, Request}, Rest} = queue:out(C),
        left(Request, Lanes#lanes{count = Count - 1, cancel_task = Rest})
    else
        {{value, #control_request{type = circuit_breaker} = First}, Others} ->
            left(First, Lanes#lanes{count = Count - 1, circuit_breaker = Others});
        {{value, #control_request{type = health_check} = First}, Others} ->
            left(First, Lanes#lanes{count = Count - 1, health_check = Others});
        {{value, #control_request{type = drain_session} = First}, Others} ->
            left(First, Lanes#lanes{count = Count - 1, drain_session = Others})
    end.

left(Request, #lanes{count = 0}) -> {Request, none};
left(Request, Lanes) -> {Request, Lanes}.
