-module(erlmcp_native_demo_settings).
-moduledoc """
What is set by environment variables:

| variable | meaning | default |
| --- | --- | --- |
| `DEMO_SECONDS` | how long the phases on this node take together, 4 to 86400 | 30, or 20 and more where the start took long |
| `DEMO_COMPARE` | `0`: leaves out the two nodes at the beginning, which take a third of that, and 10 s at most | 1 |
| `DEMO_NODES` | `0`: leaves out the two nodes more, which take 4 s or so | 1 |
| `DEMO_PLAIN` | `1`: a line a second in place of the table, as without a terminal or with `NO_COLOR` | 0 |
| `DEMO_RIVAL` | `1`: at the end a gen_server takes the same load as the library | 0 |
| `DEMO_HOLD` | `1`: after the summary go on in the calm phase until Ctrl-C, for the page | 0 |
| `DEMO_PORT` | the page's port; 0 for any that is free | 0 |
| `DEMO_LOG` | the file for the JSON lines | `_build/demo/demo.jsonl` |
""".

-export([read/1]).

-export_type([settings/0]).

-doc "The settings have a value for each variable.".
-type settings() :: #{
    seconds := 4..86400,
    %% Whether somebody asked for just so many.
    asked := boolean(),
    compare := boolean(),
    nodes := boolean(),
    plain := boolean(),
    rival := boolean(),
    hold := boolean(),
    port := inet:port_number(),
    log := file:filename()
}.

-doc """
Returns the settings, or what is wrong. `Get` is asked for a variable's value, and has the arguments of `os:getenv/2`.
""".
-spec read(fun((string(), string()) -> string())) -> {ok, settings()} | {error, unicode:chardata()}.
read(Get) ->
    try
        {ok, #{
            seconds => number("DEMO_SECONDS", Get, "30", 4, 86_400),
            asked => text("DEMO_SECONDS", Get, "") =/= "",
            compare => flag("DEMO_COMPARE", Get, "1"),
            nodes => flag("DEMO_NODES", Get, "1"),
            plain => flag("DEMO_PLAIN", Get, "0"),
            rival => flag("DEMO_RIVAL", Get, "0"),
            hold => flag("DEMO_HOLD", Get, "0"),
            port => number("DEMO_PORT", Get, "0", 0, 65_535),
            log => text("DEMO_LOG", Get, "_build/demo/demo.jsonl")
        }}
    catch
        throw:{wrong, Problem} -> {error, Problem}
    end.

number(Name, Get, Default, Lowest, Highest) ->
    Text = text(Name, Get, Default),
    IsNumber = length(Text) =< 9 andalso lists:all(fun(C) -> C >= $0 andalso C =< $9 end, Text),
    case IsNumber andalso list_to_integer(Text) of
        N when is_integer(N), N >= Lowest, N =< Highest -> N;
        _ -> wrong("~s must be a whole number from ~b to ~b, not \"~ts\"", [Name, Lowest, Highest, Text])
    end.

flag(Name, Get, Default) ->
    case text(Name, Get, Default) of
        "0" -> false;
        "1" -> true;
        Text -> wrong("~s must be 0 or 1, not \"~ts\"", [Name, Text])
    end.

%% Set to nothing is not set.
text(Name, Get, Default) ->
    case Get(Name, Default) of
        "" -> Default;
        Text -> Text
    end.

-spec wrong(string(), [term()]) -> no_return().
wrong(Format, Arguments) ->
    throw({wrong, io_lib:format(Format, Arguments)}).
