-module(erlmcp_native_fuzz_sink).
-moduledoc "A group leader that takes whatever is printed, and shows nothing.".

-export([start/0]).

-doc "Starts one.".
-spec start() -> pid().
start() ->
    spawn(fun loop/0).

loop() ->
    receive
        {io_request, From, ReplyAs, Request} ->
            From ! {io_reply, ReplyAs, reply(Request)},
            loop();
        _ ->
            loop()
    end.

reply({get_geometry, _}) -> {error, enotsup};
reply(getopts) -> [{encoding, unicode}];
reply({put_chars, unicode, Module, Function, Args}) -> printed(apply(Module, Function, Args));
reply({put_chars, unicode, Chars}) -> printed(Chars);
reply(_) -> ok.

%% As a terminal would find out.
printed(Chars) ->
    case unicode:characters_to_binary(Chars) of
        Bytes when is_binary(Bytes) -> ok;
        _ -> {error, no_characters}
    end.
