%% Commands and files of other programs in documents: what they name exists, and what asks this node over HTTP is asked.
-module(erlmcp_native_document_shell).

-export([commands/1, dockerfile/1, toml/1, metrics/1]).

%% Programs that a document may tell the reader to run. They are not run here: they change the reader's machine, or
%% need the network.
-define(PROGRAMS, [
    "apk", "apt-get", "cargo", "cd", "docker", "erl", "escript", "export", "git", "mkdir", "mix", "promtool", "rebar3",
    "rm", "rustup", "sed", "tar"
]).
-define(INSTRUCTIONS, ["ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "LABEL", "RUN", "USER", "WORKDIR"]).

%% Returns what the requests were answered.
-spec commands(binary()) -> {ok, Answers :: [binary()]} | {error, [string()]}.
commands(Text) ->
    Joined = re:replace(Text, ~B"\\\n\s*", ~" ", [global, {return, list}]),
    Lines = [string:trim(Line) || Line <- string:split(Joined, "\n", all)],
    all([command(Part) || Line <- Lines, Part <- parts(uncommented(Line))]).

all(Results) ->
    case [Trouble || {error, Trouble} <- Results] of
        [] -> {ok, [Answer || {answer, Answer} <- Results]};
        Troubles -> {error, Troubles}
    end.

uncommented(Line) -> re:replace(Line, ~B"(^|\s)#.*$", ~"", [{return, list}]).

parts(Line) ->
    [string:trim(Part) || Part <- re:split(Line, ~B"&&|;", [{return, list}]), string:trim(Part) =/= ""].

command(Line) ->
    {match, Quoted} = re:run(Line, ~B{'[^']*'|"[^"]*"|\S+}, [global, {capture, first, list}]),
    Words = [string:trim(Word, both, "'\"") || [Word] <- Quoted],
    case lists:dropwhile(fun is_assignment/1, Words) of
        ["make" | Targets] -> make([Target || Target <- Targets, not is_assignment(Target)]);
        ["curl" | Args] -> curl(Args, #{method => "GET", headers => [], body => none, head => false});
        [Program | Args] -> program(Program, Args);
        [] -> ok
    end.

is_assignment(Word) -> re:run(Word, ~B"^[A-Z_][A-Z0-9_]*=") =/= nomatch.

make(Targets) ->
    {ok, Makefile} = file:read_file(filename:join(erlmcp_native_test_lib:root(), "Makefile")),
    {match, Phony} = re:run(Makefile, ~B"^\.PHONY: (.*)$", [global, multiline, {capture, all_but_first, list}]),
    case Targets -- string:lexemes(lists:append(lists:join(" ", lists:append(Phony))), " ") of
        [] -> ok;
        Unknown -> {error, "make has no target " ++ lists:join(" ", Unknown)}
    end.

program(Program, Args) ->
    Known = lists:member(Program, ?PROGRAMS) orelse is_here(Program),
    Missing = [Arg || Arg <- Args, is_our_path(Arg), not is_here(Arg)],
    case {Known, Missing} of
        {true, []} -> ok;
        {false, _} -> {error, "nobody knows whether this runs: " ++ Program};
        {true, _} -> {error, "there is no " ++ lists:flatten(lists:join(", ", Missing))}
    end.

is_our_path(Arg) ->
    re:run(Arg, ~B"^(native|erlang|scripts|priv|docs|test|examples|integration|bench|demo)/[\w./-]+$") =/= nomatch.

is_here(Path) -> filelib:is_file(filename:join(erlmcp_native_test_lib:root(), Path)) andalso is_our_path(Path).

curl(["-s" | Args], Request) -> curl(Args, Request);
curl(["-i" | Args], Request) -> curl(Args, Request#{head := true});
curl(["-si" | Args], Request) -> curl(["-s", "-i" | Args], Request);
curl(["-X", Method | Args], Request) -> curl(Args, Request#{method := Method});
curl(["-H", Header | Args], #{headers := Headers} = Request) -> curl(Args, Request#{headers := [Header | Headers]});
curl(["-d", Body | Args], Request) -> curl(Args, Request#{method := "POST", body := Body});
curl(["http://" ++ Url], Request) -> fetch(Url, Request);
curl(Args, _) -> {error, "curl is asked for what the harness does not know: " ++ lists:join(" ", Args)}.

fetch(Url, Request) ->
    {match, [Host, Named, Path]} = re:run(Url, ~B"^([^/:]+):(\d+)(.*)$", [{capture, all_but_first, list}]),
    case {lists:member(Host, ["127.0.0.1", "localhost"]), erlmcp_native_document_node:listener(Named)} of
        {true, {ok, Port}} -> ask(Port, Path, Request);
        {false, _} -> {error, "a host that is not this one: " ++ Host};
        {_, {error, Trouble}} -> {error, Trouble}
    end.

%% Whoever asks for the head shows a status, which is compared. Otherwise it must be a good one.
ask(Port, Path, #{method := Method, headers := Headers, body := Body, head := Shown}) ->
    {Status, Head, Answer} = answer(Port, [
        [Method, " ", Path, " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"],
        [[Header, "\r\n"] || Header <- Headers],
        case Body of
            none -> "\r\n";
            _ -> ["content-length: ", integer_to_list(iolist_size(Body)), "\r\n\r\n", Body]
        end
    ]),
    case {Shown, Status} of
        {true, _} -> {answer, iolist_to_binary([Head, "\n\n", Answer])};
        {false, ~"200"} -> {answer, Answer};
        {false, _} -> {error, lists:flatten(io_lib:format("~ts is answered with ~ts", [Path, Status]))}
    end.

answer(Port, Request) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, Request),
    [Head, Body] = binary:split(received(Socket, <<>>), ~"\r\n\r\n"),
    ok = gen_tcp:close(Socket),
    <<"HTTP/1.1 ", Status:3/binary, _/binary>> = Head,
    {Status, binary:replace(Head, ~"\r", ~"", [global]), Body}.

received(Socket, Seen) ->
    case gen_tcp:recv(Socket, 0, 10000) of
        {ok, More} -> received(Socket, <<Seen/binary, More/binary>>);
        {error, closed} -> Seen
    end.

-spec dockerfile(binary()) -> ok | {error, [string()]}.
dockerfile(Text) ->
    Joined = re:replace(Text, ~B"\\\n\s*", ~" ", [global, {return, list}]),
    Lines = [Line || Line <- string:split(Joined, "\n", all), uncommented(Line) =/= "", string:trim(Line) =/= ""],
    Instructions = [hd(string:lexemes(Line, " ")) || Line <- Lines],
    Commands = [Command || "RUN " ++ Command <- Lines],
    case {Instructions -- lists:append([[I || I <- Instructions, I =:= Known] || Known <- ?INSTRUCTIONS]), Commands} of
        {[], _} -> run(Commands);
        {Unknown, _} -> {error, ["no instruction of a Dockerfile: " ++ lists:join(", ", Unknown)]}
    end.

run(Commands) ->
    case commands(unicode:characters_to_binary(lists:join("\n", Commands))) of
        {ok, _} -> ok;
        Error -> Error
    end.

%% Tables, keys with values, comments.
-spec toml(binary()) -> ok | {error, [string()]}.
toml(Text) ->
    Pattern = ~B{^\s*(\[[\w.-]+\]|[\w-]+ = ("[^"]*"|\[.*\]|true|false|\d+)|#.*)?\s*$},
    case [Line || Line <- binary:split(Text, ~"\n", [global]), re:run(Line, Pattern) =:= nomatch] of
        [] -> ok;
        Lines -> {error, ["no TOML: " ++ binary_to_list(Line) || Line <- Lines]}
    end.

%% Rules and queries: the metrics that they read have values.
-spec metrics(binary()) -> ok | {error, [string()]}.
metrics(Text) ->
    Known = lists:append([samples(Field) || Field <- erlmcp_native_metrics:fields()]),
    Read =
        case re:run(Text, ~B"\b(erlmcp_[a-z0-9_]+)\s*[{[)]", [global, {capture, all_but_first, binary}]) of
            {match, Found} -> [Name || [Name] <- Found];
            nomatch -> []
        end,
    case lists:usort(Read) -- Known of
        [] -> ok;
        Unknown -> {error, ["no metric: " ++ binary_to_list(Name) || Name <- Unknown]}
    end.

samples(#{name := Name, kind := histogram}) -> [<<Name/binary, End/binary>> || End <- [~"_bucket", ~"_sum", ~"_count"]];
samples(#{name := Name, kind := counter}) -> [<<Name/binary, "_total">>, Name];
samples(#{name := Name}) -> [Name].
