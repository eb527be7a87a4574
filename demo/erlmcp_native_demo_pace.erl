-module(erlmcp_native_demo_pace).
-moduledoc """
A steady number of things a second, by the clock: whoever wakes up asks how many are due.

Being late is made good up to a twentieth of a second; what is later than that is lost, so that a busy machine
shows a lower rate and not a burst.
""".

-export([new/2, due/2]).

-export_type([pace/0]).

-define(CATCH_UP_US, 50_000).

-doc "A pace knows how far it has been kept.".
-opaque pace() :: #{per_s := non_neg_integer(), since_us := integer(), done := non_neg_integer()}.

-doc "Makes a pace of `PerS` a second, from `NowUs` on, in microseconds.".
-spec new(PerS :: non_neg_integer(), NowUs :: integer()) -> pace().
new(PerS, NowUs) ->
    #{per_s => PerS, since_us => NowUs, done => 0}.

-doc "Returns how many are due at `NowUs`, in microseconds. They count as done.".
-spec due(pace(), NowUs :: integer()) -> {non_neg_integer(), pace()}.
due(#{per_s := PerS, since_us := Since, done := Done} = Pace, NowUs) ->
    Should = PerS * (NowUs - Since) div 1_000_000,
    {min(Should - Done, PerS * ?CATCH_UP_US div 1_000_000), Pace#{done := Should}}.
