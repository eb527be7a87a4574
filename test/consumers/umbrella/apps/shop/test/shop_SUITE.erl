%% Tests as a user has them: some with cover, of which the dependency's modules are a part in the last case.
-module(shop_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1]).
-export([limited/1, told/1, covered_dependency/1]).

all() -> [limited, told, covered_dependency].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(shop),
    ok = erlmcp_queue_limits:set_limit(till, 2),
    Config.

end_per_suite(_Config) ->
    application:stop(erlmcp_native).

limited(_Config) ->
    ?assertEqual([bought, bought, come_back], [shop:buy(self()) || _ <- [1, 2, 3]]),
    ok = erlmcp_queue_limits:record_dequeue(till, self()),
    ?assertEqual(bought, shop:buy(self())).

told(_Config) ->
    ok = erlmcp_control_plane:register_component(shop, fun(_) -> ok end),
    ?assertMatch({ok, _}, erlmcp_control_plane:send_health_check(shop, till:open())).

%% All of it compiled for cover while it runs: what was counted stays, but for the two modules that say no.
covered_dependency(_Config) ->
    ok = erlmcp_queue_limits:record_enqueue(covered, kept),
    _ = cover:start(),
    Ebin = filename:dirname(code:which(erlmcp_native)),
    Modules = [
        list_to_atom(filename:basename(File, ".beam"))
     || File <- filelib:wildcard("*.beam", Ebin)
    ] -- [erlmcp_native, erlmcp_native_wait],
    Beams = [filename:join(Ebin, atom_to_list(Module) ++ ".beam") || Module <- Modules],
    ?assertEqual([], [Result || Result <- cover:compile_beam(Beams), element(1, Result) =/= ok]),
    ?assertEqual(1, erlmcp_queue_limits:get_queue_depth(covered, kept)),
    ok = erlmcp_queue_limits:record_enqueue(covered, kept),
    ?assertMatch({ok, _}, erlmcp_control_plane:send_health_check(shop, liveness)),
    {ok, {erlmcp_queue_limits, {Covered, _}}} = cover:analyse(erlmcp_queue_limits, coverage, module),
    ?assert(Covered > 0).
