-module(erlmcp_native_sanitize_fault).
-moduledoc """
Loads a library that commits a fault, which the sanitizer must not let pass: `scripts/sanitize.sh` looks at that
before it believes that there are none.
""".

-export([main/0]).
-nifs([]).

-doc "Loads the library that the environment variable `SANITIZE_LIBRARY` names. The runtime has to end in it.".
-spec main() -> no_return().
main() ->
    Result = erlang:load_nif(os:getenv("SANITIZE_LIBRARY"), none),
    io:format("the runtime goes on, with ~p~n", [Result]),
    halt(0).
