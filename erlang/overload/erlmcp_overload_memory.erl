-module(erlmcp_overload_memory).
-moduledoc """
How much memory this node has resident, and how much it may have: by Linux' own files, which lie below a root that is
`/` for all but tests.

What it may have is the least of what its control group allows, what each group around that does, in either version of
control groups, and what the machine has. A file that is not there, says `max`, or makes no sense, says nothing.

To look for the limit takes a millisecond, and longer where all dirty schedulers are busy or a file system in user space
hangs: it is for processes that nobody waits for.
""".

-export([limit/1, resident/1]).

-export_type([source/0]).

-doc "A limit comes of the file that says so, or of the options.".
-type source() :: {file, file:filename()} | configured.

%% No file that is read here has more to say, unless something is wrong.
-define(READS, 256).
-define(READ_BYTES, 65536).
%% From here on it is no limit, and no number that the library takes.
-define(MOST, 16#7fffffffffffff).
%% How deep groups are nested, at the most.
-define(DEEPEST, 64).

-doc "Returns the least limit in bytes, with the file that says so, or `unknown`.".
-spec limit(Root :: file:filename()) -> {pos_integer(), source()} | unknown.
limit(Root) ->
    Groups = [{Bytes, {file, File}} || File <- group_files(Root), Bytes <- bytes(lines(Root, File))],
    case lists:sort(Groups ++ machine(Root)) of
        [Least | _] -> Least;
        [] -> unknown
    end.

-doc "Returns how many bytes of a process's memory are resident by its file `status`, or `unknown`.".
-spec resident(Status :: binary()) -> pos_integer() | unknown.
resident(Status) ->
    case kilobytes(~"VmRSS:", lines(Status)) of
        [Bytes] -> Bytes;
        [] -> unknown
    end.

machine(Root) ->
    File = "/proc/meminfo",
    [{Bytes, {file, File}} || Bytes <- kilobytes(~"MemTotal:", lines(Root, File))].

kilobytes(Name, Lines) ->
    Found = [Number || Line <- Lines, [Of, Number, ~"kB"] <- [words(Line)], Of =:= Name],
    [Kilobytes * 1024 || Kilobytes <- positive(Found)].

bytes(Lines) ->
    positive([Number || Line <- Lines, [Number] <- [words(Line)]]).

%% The first, if it is a number: of more than one line nothing is known.
positive([Number]) ->
    try binary_to_integer(Number) of
        Positive when Positive > 0, Positive =< ?MOST -> [Positive];
        _ -> []
    catch
        error:badarg -> []
    end;
positive(_) ->
    [].

%% Where the limits of this process's groups, and of those around them, are said.
group_files(Root) ->
    Mounts = [mount(words(Line)) || Line <- lines(Root, "/proc/self/mountinfo")],
    Groups = [group(Line) || Line <- lines(Root, "/proc/self/cgroup")],
    lists:uniq([
        File
     || {Version, Path} <- Groups,
        {Top, At} <- mounts(Version, Path, Mounts),
        File <- files(Version, At, steps(Top, Path))
    ]).

%% In a path there may be colons: 5:cpu,memory:/a/b
group(Line) ->
    case binary:split(Line, ~":") of
        [~"0", <<":", Path/binary>>] -> {v2, Path};
        [_, Rest] -> group_of(binary:split(Rest, ~":"));
        [_] -> {none, ~"/"}
    end.

group_of([Controllers, Path]) -> {kind(Controllers), Path};
group_of(_) -> {none, ~"/"}.

kind(Controllers) ->
    case lists:member(~"memory", binary:split(Controllers, ~",", [global])) of
        true -> v1;
        false -> none
    end.

%% Optional fields end with a dash: 32 31 0:29 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory
mount([_, _, _, Top, At, _ | Rest]) ->
    case lists:dropwhile(fun(Word) -> Word =/= ~"-" end, Rest) of
        [_, ~"cgroup2" | _] -> {v2, plain(Top), plain(At)};
        [_, ~"cgroup", _, Options | _] -> {kind(Options), plain(Top), plain(At)};
        _ -> {none, ~"/", ~"/"}
    end;
mount(_) ->
    {none, ~"/", ~"/"}.

%% Where this group is: what others' groups are mounted at does not matter.
mounts(none, _, _) ->
    [];
mounts(Version, Path, Mounts) ->
    All = [{Top, At} || {Of, Top, At} <- Mounts, Of =:= Version],
    case {All, [Mount || {Top, _} = Mount <- All, lists:prefix(names(Top), names(Path))]} of
        {[], []} -> [{~"/", usual(Version)}];
        {_, []} -> All;
        {_, Own} -> Own
    end.

usual(v1) -> ~"/sys/fs/cgroup/memory";
usual(v2) -> ~"/sys/fs/cgroup".

file(v1) -> "memory.limit_in_bytes";
file(v2) -> "memory.max".

%% A blank in a path is written as \040.
plain(Path) ->
    case binary:split(Path, ~"\\") of
        [Before, <<A, B, C, After/binary>>] when A >= $0, A =< $3, B >= $0, B =< $7, C >= $0, C =< $7 ->
            <<Before/binary, ((A - $0) * 64 + (B - $0) * 8 + C - $0), (plain(After))/binary>>;
        [Before, After] ->
            <<Before/binary, "\\", (plain(After))/binary>>;
        [_] ->
            Path
    end.

%% The groups from the top of what is mounted down to this process's: of one that is not below it, the top is all.
steps(Top, Path) ->
    Steps = names(Path),
    Above = names(Top),
    Below =
        case lists:prefix(Above, Steps) of
            true -> lists:nthtail(length(Above), Steps);
            false -> []
        end,
    case lists:member(~"..", Below) of
        true -> [];
        false -> lists:sublist(Below, ?DEEPEST)
    end.

names(Path) ->
    [Name || Name <- binary:split(Path, ~"/", [global]), Name =/= ~"", Name =/= ~"."].

files(Version, At, Steps) ->
    [
        unicode:characters_to_list(filename:join([At | lists:sublist(Steps, Depth)] ++ [file(Version)]))
     || Depth <- lists:seq(0, length(Steps))
    ].

words(Line) ->
    [Word || Word <- binary:split(Line, [~" ", ~"\t"], [global]), Word =/= ~""].

lines(Root, File) ->
    lines(read(Root ++ File)).

lines(Text) ->
    [Line || Line <- binary:split(Text, ~"\n", [global]), Line =/= ~""].

read(File) ->
    case file:open(File, [raw, read, binary]) of
        {ok, Device} ->
            Read = read(Device, ?READS, []),
            _ = file:close(Device),
            Read;
        {error, _} ->
            ~""
    end.

%% Such files may give less than there is.
read(Device, Reads, Read) when Reads > 0 ->
    case file:read(Device, ?READ_BYTES) of
        {ok, Bytes} -> read(Device, Reads - 1, [Read, Bytes]);
        _EofOrError -> iolist_to_binary(Read)
    end;
read(_, _, Read) ->
    iolist_to_binary(Read).
