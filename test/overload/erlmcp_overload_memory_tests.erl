%% How much memory there is and is in use, by files below a root of its own.
-module(erlmcp_overload_memory_tests).

-include_lib("eunit/include/eunit.hrl").

-define(M, erlmcp_overload_memory).
-define(GB, 1073741824).
%% What a group without a limit says, in version 1.
-define(NO_LIMIT, "9223372036854771712").

memory_test_() ->
    Tests = [
        fun without_files_nothing_is_known/1,
        fun the_machine_is_the_limit_where_no_group_is/1,
        fun a_group_of_version_2/1,
        fun the_least_of_nested_groups_of_version_2/1,
        fun a_group_of_version_1/1,
        fun a_container_sees_its_own_group_as_the_top/1,
        fun a_container_whose_group_is_named_as_outside/1,
        fun groups_of_others_that_are_mounted_too/1,
        fun a_group_that_no_mount_has/1,
        fun both_versions_at_once/1,
        fun a_group_outside_of_what_is_mounted/1,
        fun paths_with_blanks/1,
        fun nonsense_says_nothing/1,
        fun nonsense_in_place_of_groups/1,
        fun more_than_the_machine_has_is_what_it_has/1,
        fun a_folder_in_place_of_a_file/1
    ],
    [
        {atom_to_list(Name),
            {setup, fun erlmcp_native_test_lib:temp_dir/0, fun erlmcp_native_test_lib:remove_dir/1, fun(Root) ->
                ?_test(Test(Root))
            end}}
     || Test <- Tests, {name, Name} <- [erlang:fun_info(Test, name)]
    ].

write(Root, Files) ->
    [
        begin
            ok = filelib:ensure_dir(Root ++ Name),
            ok = file:write_file(Root ++ Name, Text)
        end
     || {Name, Text} <- Files
    ].

machine(Gigabytes) ->
    Kilobytes = integer_to_list(Gigabytes * 1048576),
    {"/proc/meminfo", ["MemTotal:       ", Kilobytes, " kB\nMemFree:         1 kB\n"]}.

groups(Lines) ->
    {"/proc/self/cgroup", [[Line, "\n"] || Line <- Lines]}.

mounts(Mounts) ->
    Line = fun
        ({v2, Top, At}) -> ["41 31 0:38 ", Top, " ", At, " rw,relatime shared:5 - cgroup2 cgroup2 rw\n"];
        ({v1, Top, At}) -> ["35 31 0:32 ", Top, " ", At, " rw,relatime - cgroup cgroup rw,memory\n"]
    end,
    {"/proc/self/mountinfo", [
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n32 31 0:29 / /cpu rw - cgroup cgroup rw,cpu\n"
        | [Line(Mount) || Mount <- Mounts]
    ]}.

limit(Root) ->
    case ?M:limit(Root) of
        {Bytes, {file, File}} -> {Bytes, File};
        unknown -> unknown
    end.

without_files_nothing_is_known(Root) ->
    ?assertEqual(unknown, ?M:limit(Root)).

the_machine_is_the_limit_where_no_group_is(Root) ->
    write(Root, [machine(4)]),
    ?assertEqual({4 * ?GB, "/proc/meminfo"}, limit(Root)),
    write(Root, [groups(["0::/a"]), {"/sys/fs/cgroup/a/memory.max", "max\n"}]),
    ?assertEqual({4 * ?GB, "/proc/meminfo"}, limit(Root)).

a_group_of_version_2(Root) ->
    write(Root, [
        machine(4),
        groups(["0::/system.slice/node.service"]),
        mounts([{v2, "/", "/sys/fs/cgroup"}]),
        {"/sys/fs/cgroup/system.slice/node.service/memory.max", "1073741824\n"}
    ]),
    ?assertEqual({?GB, "/sys/fs/cgroup/system.slice/node.service/memory.max"}, limit(Root)).

the_least_of_nested_groups_of_version_2(Root) ->
    write(Root, [
        machine(8),
        groups(["0::/a/b/c"]),
        {"/sys/fs/cgroup/a/memory.max", integer_to_list(3 * ?GB)},
        {"/sys/fs/cgroup/a/b/memory.max", integer_to_list(2 * ?GB)},
        {"/sys/fs/cgroup/a/b/c/memory.max", integer_to_list(5 * ?GB)},
        %% Nobody's that this process is in.
        {"/sys/fs/cgroup/a/b/c/d/memory.max", "4096"}
    ]),
    ?assertEqual({2 * ?GB, "/sys/fs/cgroup/a/b/memory.max"}, limit(Root)).

a_group_of_version_1(Root) ->
    write(Root, [
        machine(8),
        groups(["9:name=systemd:/", "5:cpu,memory:/a/b", "1:cpu:/z", "0::/"]),
        mounts([{v1, "/", "/groups/memory"}, {v2, "/", "/sys/fs/cgroup/unified"}]),
        {"/groups/memory/memory.limit_in_bytes", ?NO_LIMIT},
        {"/groups/memory/a/memory.limit_in_bytes", integer_to_list(?GB)},
        {"/groups/memory/a/b/memory.limit_in_bytes", ?NO_LIMIT},
        {"/groups/memory/z/memory.limit_in_bytes", "4096"}
    ]),
    ?assertEqual({?GB, "/groups/memory/a/memory.limit_in_bytes"}, limit(Root)).

a_container_sees_its_own_group_as_the_top(Root) ->
    write(Root, [
        machine(8),
        groups(["0::/"]),
        mounts([{v2, "/", "/sys/fs/cgroup"}]),
        {"/sys/fs/cgroup/memory.max", integer_to_list(?GB)}
    ]),
    ?assertEqual({?GB, "/sys/fs/cgroup/memory.max"}, limit(Root)).

a_container_whose_group_is_named_as_outside(Root) ->
    write(Root, [
        machine(8),
        groups(["4:memory:/docker/f00/sub"]),
        mounts([{v1, "/docker/f00", "/sys/fs/cgroup/memory"}]),
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes", integer_to_list(2 * ?GB)},
        {"/sys/fs/cgroup/memory/sub/memory.limit_in_bytes", integer_to_list(?GB)}
    ]),
    ?assertEqual({?GB, "/sys/fs/cgroup/memory/sub/memory.limit_in_bytes"}, limit(Root)).

%% As into the container of who looks after the others.
groups_of_others_that_are_mounted_too(Root) ->
    Mine = {?GB, "/sys/fs/cgroup/mine/memory.max"},
    [
        begin
            write(Root, [
                machine(8),
                groups(["0::/mine"]),
                mounts(Mounts),
                {"/sys/fs/cgroup/mine/memory.max", integer_to_list(?GB)},
                {"/watched/memory.max", "4096"},
                {"/watched/mine/memory.max", "4096"}
            ]),
            ?assertEqual({Mounts, Mine}, {Mounts, limit(Root)})
        end
     || Own <- [{v2, "/", "/sys/fs/cgroup"}, {v2, "/mine", "/sys/fs/cgroup/mine"}],
        Other <- [{v2, "/other", "/watched"}, {v2, "/mine2", "/watched"}, {v2, "/mine/below", "/watched"}],
        Mounts <- [[Own, Other], [Other, Own]]
    ].

%% Where none of what is mounted has it, it is named in another view than that.
a_group_that_no_mount_has(Root) ->
    write(Root, [
        machine(8),
        groups(["0::/"]),
        mounts([{v2, "/docker/f00", "/sys/fs/cgroup"}]),
        {"/sys/fs/cgroup/memory.max", integer_to_list(?GB)}
    ]),
    ?assertEqual({?GB, "/sys/fs/cgroup/memory.max"}, limit(Root)).

both_versions_at_once(Root) ->
    write(Root, [
        machine(8),
        groups(["4:memory:/a", "0::/b"]),
        {"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", integer_to_list(3 * ?GB)},
        {"/sys/fs/cgroup/b/memory.max", integer_to_list(2 * ?GB)}
    ]),
    ?assertEqual({2 * ?GB, "/sys/fs/cgroup/b/memory.max"}, limit(Root)).

a_group_outside_of_what_is_mounted(Root) ->
    write(Root, [
        machine(8),
        groups(["0::/../../b"]),
        mounts([{v2, "/", "/sys/fs/cgroup"}]),
        {"/sys/fs/cgroup/memory.max", integer_to_list(?GB)},
        {"/b/memory.max", "4096"}
    ]),
    ?assertEqual({?GB, "/sys/fs/cgroup/memory.max"}, limit(Root)).

paths_with_blanks(Root) ->
    write(Root, [
        machine(8),
        groups(["0::/a b:c"]),
        mounts([{v2, "/", "/my\\040groups"}]),
        {"/my groups/a b:c/memory.max", integer_to_list(?GB)}
    ]),
    ?assertEqual({?GB, "/my groups/a b:c/memory.max"}, limit(Root)).

nonsense_says_nothing(Root) ->
    [
        begin
            write(Root, [machine(4), groups(["0::/a"]), {"/sys/fs/cgroup/a/memory.max", Text}]),
            ?assertEqual({Text, {4 * ?GB, "/proc/meminfo"}}, {Text, limit(Root)})
        end
     || Text <- [
            "", "\n", "max", "0", "-1", "-9223372036854775808", "1.5", "1e9", "0x10", "12 34", "5\n6\n", "abc",
            <<255, 254>>, <<0:64>>, "18446744073709551616", "1" ++ lists:duplicate(5000, $0), "twelve kB"
        ]
    ].

nonsense_in_place_of_groups(Root) ->
    [
        begin
            write(Root, [machine(4), {"/proc/self/cgroup", Text}, {"/proc/self/mountinfo", Text}]),
            ?assertEqual({4 * ?GB, "/proc/meminfo"}, limit(Root))
        end
     || Text <- [
            "", "0", "0::", ":::::", "0::relative/../..", "::", "4:memory", <<255, 255, 10, 0>>, "a b c d e - cgroup2",
            "1 2 3 \\04 \\999 rw -", "1 2 3 4 5 6 - cgroup", lists:duplicate(100000, $/),
            ["0::", lists:duplicate(1000, "/a")]
        ]
    ],
    [
        begin
            write(Root, [{"/proc/meminfo", Text}]),
            ?assertEqual(unknown, limit(Root))
        end
     || Text <- ["", "MemTotal:", "MemTotal: kB", "MemTotal: -5 kB", "MemTotal: 5 MB", "MemTotal: x kB", <<200>>]
    ].

more_than_the_machine_has_is_what_it_has(Root) ->
    write(Root, [machine(4), groups(["0::/a"]), {"/sys/fs/cgroup/a/memory.max", integer_to_list(9 * ?GB)}]),
    ?assertEqual({4 * ?GB, "/proc/meminfo"}, limit(Root)).

a_folder_in_place_of_a_file(Root) ->
    write(Root, [{"/proc/self/cgroup/x", ""}, {"/proc/meminfo/x", ""}]),
    ?assertEqual(unknown, ?M:limit(Root)).

resident_test_() ->
    [
        ?_assertEqual({Status, Bytes}, {Status, ?M:resident(Status)})
     || {Status, Bytes} <- [
            {~"Name:\tVmRSS: 7 kB\nVmHWM:\t 9 kB\nVmRSS:\t   68168 kB\nThreads:\t1\n", 68168 * 1024},
            {~"VmRSS:\t   0 kB\n", unknown},
            {~"VmRSS:\t   1 MB\n", unknown},
            {~"VmRSS:\t   x kB\n", unknown},
            {~"VmRSS: 1 kB\nVmRSS: 2 kB\n", unknown},
            {~"", unknown},
            {<<0:800>>, unknown}
        ]
    ].

this_machine_test() ->
    case os:type() of
        {unix, linux} ->
            {Limit, {file, _}} = ?M:limit(""),
            {ok, Status} = file:read_file("/proc/self/status"),
            ?assert(?M:resident(Status) < Limit);
        _ ->
            ?assertEqual(unknown, ?M:limit(""))
    end.

%% The reader tells, whatever the file is, and goes on when there is one again.
reader_test() ->
    Root = erlmcp_native_test_lib:temp_dir(),
    {ok, Reader} = erlmcp_overload_resident:start_link(Root),
    ?assertEqual(unknown, read(Reader)),
    write(Root, [{"/proc/self/status", "VmRSS:\t 5 kB\n"}]),
    ?assertEqual(5 * 1024, read(Reader)),
    write(Root, [{"/proc/self/status", "VmRSS:\t 6 kB\n"}]),
    ?assertEqual(6 * 1024, read(Reader)),
    write(Root, [{"/proc/self/status", ""}]),
    ?assertEqual(unknown, read(Reader)),
    ok = gen_server:stop(Reader),
    erlmcp_native_test_lib:remove_dir(Root).

read(Reader) ->
    ok = erlmcp_overload_resident:read(Reader),
    receive
        {resident, Reader, Bytes} -> Bytes
    after 10000 -> error(not_told)
    end.
