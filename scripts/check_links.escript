%% Usage: escript scripts/check_links.escript SITE
%%
%% Names every link that leads nowhere, and fails then: in the pages of SITE, a folder that ex_doc made, and in the
%% Markdown files of this tree, which are read without a site as well. What leads out is not followed.

main([Site]) ->
    ok = io:setopts(standard_error, [{encoding, unicode}]),
    Root = filename:dirname(filename:dirname(filename:absname(escript:script_name()))),
    Pages = maps:from_list([{File, read_page(File)} || File <- found("**/*.html", Site)]),
    Documents = maps:from_list([{File, read_document(File)} || File <- documents(Root)]),
    Dead = dead(Pages) ++ dead(Documents),
    [io:format(standard_error, "~ts~n", [Line]) || Line <- Dead],
    case {map_size(Pages), map_size(Documents), Dead} of
        {0, _, _} -> fail("~ts: no page is there", [Site]);
        {_, 0, _} -> fail("~ts: no Markdown is there", [Root]);
        {N, M, []} -> io:format("~b pages and ~b Markdown files: no link is dead~n", [N, M]);
        {_, _, _} -> fail("~b dead links", [length(Dead)])
    end;
main(_) ->
    fail("Usage: escript scripts/check_links.escript SITE", []).

fail(Format, Args) ->
    io:format(standard_error, Format ++ "~n", Args),
    halt(1).

found(Pattern, Folder) ->
    [filename:join(Folder, File) || File <- filelib:wildcard(Pattern, Folder)].

%% What is built and what others wrote is left out.
documents(Root) ->
    found("*.md", Root) ++ lists:append([found(Folder ++ "/**/*.md", Root) || Folder <- source_folders(Root)]).

source_folders(Root) ->
    {ok, Names} = file:list_dir(Root),
    [Name || [First | _] = Name <- Names, filelib:is_dir(filename:join(Root, Name)), First =/= $., First =/= $_] --
        ["target"].

%% Each file with its links, and with the names that links can end at.
dead(Files) ->
    lists:sort([
        [File, ": ", Link, ": ", Why]
     || File := {Links, _} <- Files, Link <- lists:usort(Links), Why <- trouble(File, Link, Files)
    ]).

trouble(File, Link, Files) ->
    case uri_string:parse(Link) of
        #{scheme := _} -> [];
        #{host := _} -> [];
        #{path := Path} = Parts -> trouble(target(File, Path), Parts, Link, Files);
        {error, _, _} -> ["it is no link"]
    end.

trouble(Target, Parts, _, Files) ->
    case {filelib:is_file(Target), Parts, Files} of
        {false, _, _} -> ["there is no such file"];
        {true, #{fragment := Fragment}, #{Target := {_, Names}}} when Fragment =/= <<>> ->
            [
                "there is no such place in that file"
             || not sets:is_element(uri_string:percent_decode(Fragment), Names)
            ];
        {true, _, _} -> []
    end.

target(File, <<>>) ->
    File;
target(File, Path) ->
    flat(filename:split(filename:join(filename:dirname(File), uri_string:percent_decode(Path))), []).

%% Without `.` and `..`, so that each file has one name.
flat([], Taken) -> filename:join(lists:reverse(Taken));
flat([Step | Steps], Taken) when Step =:= "."; Step =:= ~"." -> flat(Steps, Taken);
flat([Step | Steps], [_ | Taken]) when Step =:= ".."; Step =:= ~".." -> flat(Steps, Taken);
flat([Step | Steps], Taken) -> flat(Steps, [unicode:characters_to_list(Step) | Taken]).

%%% Pages

read_page(File) ->
    {ok, Html} = file:read_file(File),
    Links = attributes("href", Html) ++ attributes("src", Html),
    {Links, sets:from_list(attributes("id", Html), [{version, 2}])}.

attributes(Name, Html) ->
    Pattern = ["<[a-zA-Z][^\\s>]*(?:\\s+[^\\s=>\"]+(?:=\"[^\"]*\")?)*?\\s+", Name, "=\"([^\"]*)\""],
    [unescaped(Value) || [Value] <- matches(Pattern, Html)].

unescaped(Value) ->
    lists:foldl(
        fun({Escaped, Character}, Text) -> binary:replace(Text, Escaped, Character, [global]) end,
        Value,
        [{~"&lt;", ~"<"}, {~"&gt;", ~">"}, {~"&quot;", ~"\""}, {~"&#39;", ~"'"}, {~"&amp;", ~"&"}]
    ).

%%% Markdown

read_document(File) ->
    {ok, Text} = file:read_file(File),
    Prose = prose(binary:split(Text, ~"\n", [global]), []),
    {links(Prose), names(Prose)}.

%% The lines that are not in a fenced block.
prose([], Prose) ->
    lists:reverse(Prose);
prose([Line | Lines], Prose) ->
    case matches("^\\s*(```+|~~~+)", Line) of
        [[Fence]] ->
            End = ["^\\s*", Fence, "+\\s*$"],
            prose(tl(lists:dropwhile(fun(Inside) -> matches(End, Inside) =:= [] end, Lines) ++ [~""]), [~"" | Prose]);
        [] ->
            prose(Lines, [Line | Prose])
    end.

%% [text](target), with a title or without, and [text]: target. What stands between backticks is code.
links(Prose) ->
    Text = re:replace(lists:join($\n, Prose), "`[^`]+`", "``", [global, unicode, {return, binary}]),
    [
        Link
     || [Link] <- matches("\\]\\(<?([^()\\s>]+)>?(?:\\s+\"[^\"]*\")?\\)", Text) ++
            matches("(?m)^ {0,3}\\[[^\\]^]+\\]:\\s+<?([^\\s>]+)>?", Text),
        Link =/= ~"``"
    ].

%% The names of headings, as the hosts of repositories make them: in small letters, hyphens for spaces, and without
%% what is neither a letter, a digit, a hyphen nor an underscore; a number tells those apart that are alike.
names(Prose) ->
    Headings = [name(Heading) || Line <- Prose, [Heading] <- matches("^ {0,3}#{1,6}\\s+(.*?)\\s*#*\\s*$", Line)],
    {Names, _} = lists:mapfoldl(
        fun(Name, Seen) ->
            case Seen of
                #{Name := N} -> {<<Name/binary, $-, (integer_to_binary(N))/binary>>, Seen#{Name := N + 1}};
                #{} -> {Name, Seen#{Name => 1}}
            end
        end,
        #{},
        Headings
    ),
    sets:from_list(Names, [{version, 2}]).

name(Heading) ->
    Shown = re:replace(Heading, "\\[([^\\]]*)\\]\\([^)]*\\)", "\\1", [global, unicode, {return, binary}]),
    Kept = re:replace(Shown, "[^\\p{L}\\p{N} _-]", "", [global, unicode, ucp, {return, binary}]),
    binary:replace(string:lowercase(Kept), ~" ", ~"-", [global]).

matches(Pattern, Text) ->
    case re:run(Text, Pattern, [global, unicode, {capture, all_but_first, binary}]) of
        {match, Matches} -> Matches;
        nomatch -> []
    end.
