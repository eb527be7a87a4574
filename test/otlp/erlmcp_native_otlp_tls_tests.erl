%% Pushes over TLS: to whom, and to whom not.
-module(erlmcp_native_otlp_tls_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("public_key/include/public_key.hrl").

-import(erlmcp_native_otlp_test_lib, [listen/1, listen_tls/3, close/1, request/1, answering/1, write/2, forever/2]).

-define(LOOPBACK, {127, 0, 0, 1}).
-define(WAIT_MS, 20000).

tls_test_() ->
    {setup, fun trust/0, fun(_) -> public_key:cacerts_clear() end, fun(Certificates) ->
        [
            {timeout, 60, {Name, fun() -> Test(Certificates) end}}
         || {Name, Test} <- [
                {"by name", fun by_name/1},
                {"by address", fun by_address/1},
                {"another name", fun another_name/1},
                {"another authority", fun another_authority/1},
                {"no TLS", fun no_tls/1},
                {"says nothing", fun says_nothing/1},
                {"a header without end", fun endless_header/1},
                {"a body without end", fun endless_body/1},
                {"never reads", fun never_reads/1},
                {"all of it", fun all_of_it/1}
            ]
        ]
    end}.

%% Certificates for localhost, for 127.0.0.1 and for someone else from an authority that is trusted, and for localhost
%% from one that is not.
trust() ->
    {ok, _} = application:ensure_all_started(ssl),
    Dir = erlmcp_native_test_lib:temp_dir(),
    Made = [{Name, make(Subject)} || {Name, Subject} <- [
        {localhost, {dNSName, "localhost"}},
        {address, {iPAddress, <<127, 0, 0, 1>>}},
        {other, {dNSName, "other.example"}}
    ]],
    File = filename:join(Dir, "authorities.pem"),
    Authorities = [{'Certificate', Der, not_encrypted} || {_, {_, Ders}} <- Made, Der <- Ders],
    ok = file:write_file(File, public_key:pem_encode(Authorities)),
    public_key:cacerts_clear(),
    ok = public_key:cacerts_load(File),
    erlmcp_native_test_lib:remove_dir(Dir),
    {Unknown, _} = make({dNSName, "localhost"}),
    (maps:from_list([{Name, Options} || {Name, {Options, _}} <- Made]))#{unknown => Unknown}.

%% The options of a server, and the authorities that its client must trust.
make(Subject) ->
    Names = #'Extension'{extnID = ?'id-ce-subjectAltName', extnValue = [Subject], critical = false},
    Key = [{key, {namedCurve, secp256r1}}, {digest, sha256}],
    #{server_config := Server, client_config := Client} = public_key:pkix_test_data(#{
        server_chain => #{root => Key, intermediates => [], peer => [{extensions, [Names]} | Key]},
        client_chain => #{root => Key, intermediates => [], peer => Key}
    }),
    {Server, proplists:get_value(cacerts, Client)}.

%% What comes of a push to an endpoint with these certificates.
post(Options, Host, Endpoint, Ms) ->
    #{port := Port} = Server = listen_tls(?LOOPBACK, Options, Endpoint),
    try
        post_to(Host, Port, Ms, ~"{\"resourceMetrics\":[]}")
    after
        close(Server)
    end.

post_to(Host, Port, Ms, Body) ->
    erlmcp_native_test_lib:in_process(fun() -> post_here(Host, Port, Ms, Body) end).

post_here(Host, Port, Ms, Body) ->
    Url = <<"https://", Host/binary, $:, (integer_to_binary(Port))/binary, "/v1/metrics">>,
    {ok, Target} = erlmcp_native_otlp_url:parse(Url),
    erlmcp_native_otlp_request:post(Target, [], Body, erlang:monotonic_time(millisecond) + Ms).

by_name(#{localhost := Options}) ->
    ?assertEqual(
        {answered, 200, #{body => ~"{}"}},
        post(Options, ~"localhost", answering([{200, "", ~"{}"}]), ?WAIT_MS)
    ),
    receive
        {request, _, #{path := Path, headers := #{~"host" := Host}}} ->
            ?assertMatch({~"/v1/metrics", <<"localhost:", _/binary>>}, {Path, Host})
    end.

by_address(#{address := Options}) ->
    ?assertMatch({answered, 200, _}, post(Options, ~"127.0.0.1", answering([{200, "", ~"{}"}]), ?WAIT_MS)),
    ?assertMatch(#{method := 'POST'}, erlmcp_native_otlp_test_lib:next_request(?WAIT_MS)).

another_name(#{other := Options, localhost := ByName}) ->
    refused(Options, ~"localhost", "hostname_check_failed"),
    refused(Options, ~"127.0.0.1", "hostname_check_failed"),
    refused(ByName, ~"127.0.0.1", "hostname_check_failed").

another_authority(#{unknown := Options}) ->
    refused(Options, ~"localhost", "Unknown CA").

refused(Options, Host, Why) ->
    {failed, tls, {tls_alert, {_, Text}}} = post(Options, Host, answering([{200, "", ~"{}"}]), ?WAIT_MS),
    ?assertNotEqual(nomatch, string:find(Text, Why)),
    receive
        {request, _, Request} -> error({sent, Request})
    after 0 -> ok
    end.

no_tls(_) ->
    #{port := Port} = Server = listen(fun(Connection, _) -> write(Connection, "220 mail.example ESMTP\r\n") end),
    ?assertMatch({failed, tls, _}, post_to(~"localhost", Port, ?WAIT_MS, ~"{}")),
    close(Server).

says_nothing(_) ->
    #{port := Port} = Server = listen(fun(Connection, _) -> erlmcp_native_otlp_test_lib:hang(Connection) end),
    {Us, Outcome} = timer:tc(fun() -> post_to(~"localhost", Port, 300, ~"{}") end),
    ?assertEqual({failed, tls, timeout}, Outcome),
    ?assert(Us < 3_300_000),
    close(Server).

endless_header(#{localhost := Options}) ->
    Endpoint = fun(Connection, _) ->
        write(Connection, "HTTP/1.1 200 OK\r\nx: "),
        forever(Connection, binary:copy(~"a", 10000))
    end,
    ?assertEqual({answered, 200, #{body => <<>>}}, post(Options, ~"localhost", Endpoint, ?WAIT_MS)).

endless_body(#{localhost := Options}) ->
    Endpoint = fun(Connection, Test) ->
        request(Connection),
        write(Connection, "HTTP/1.1 200 OK\r\n\r\n"),
        Test ! {hung_up_after, forever(Connection, binary:copy(~"{}", 5000))}
    end,
    {answered, 200, #{body := Body}} = post(Options, ~"localhost", Endpoint, ?WAIT_MS),
    ?assertEqual(65536, byte_size(Body)).

%% Nothing is left of it when the other side closes. Until then the library waits with its farewell for 30 s.
never_reads(#{localhost := Options}) ->
    Before = client_processes(),
    Test = self(),
    Endpoint = fun(_, _) ->
        Test ! {accepted, self()},
        receive
            never -> ok
        end
    end,
    #{port := Port} = Server = listen_tls(?LOOPBACK, Options, Endpoint),
    {Pid, Monitor} = spawn_monitor(fun() ->
        exit(post_here(~"localhost", Port, 60000, binary:copy(~"a", 32 * 1024 * 1024)))
    end),
    erlmcp_native_test_lib:eventually(fun() -> is_sending(Pid) end, ?WAIT_MS),
    ?assertNotEqual([], client_processes() -- Before),
    exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, Pid, killed} -> ok
    end,
    receive
        {accepted, Other} -> exit(Other, kill)
    after ?WAIT_MS -> error(not_accepted)
    end,
    close(Server),
    erlmcp_native_test_lib:eventually(fun() -> client_processes() -- Before =:= [] end, ?WAIT_MS).

%% The process that sends for it is linked to it.
is_sending(Pid) ->
    {links, Links} = process_info(Pid, links),
    lists:any(fun is_pid/1, Links).

client_processes() ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(tls_connection_sup), is_pid(Pid)].

%% A pusher, and what it says of a certificate that it does not like.
all_of_it(#{localhost := Options, unknown := Unknown}) ->
    _ = application:load(erlmcp_native),
    Url = fun(#{port := Port}) -> <<"https://localhost:", (integer_to_binary(Port))/binary, "/v1/metrics">> end,
    Server = listen_tls(?LOOPBACK, Options, answering([{200, "", ~"{}"}])),
    erlmcp_native_otlp_test_lib:with_pusher(Url(Server), #{}, fun(_) ->
        ?assertMatch(#{method := 'POST'}, erlmcp_native_otlp_test_lib:next_request(?WAIT_MS))
    end),
    close(Server),
    Bad = listen_tls(?LOOPBACK, Unknown, answering([{200, "", ~"{}"}])),
    Failed = erlmcp_native_otlp_test_lib:counted(otlp_failed),
    {_, Lines} = erlmcp_native_otlp_test_lib:logged(fun() ->
        erlmcp_native_otlp_test_lib:with_pusher(Url(Bad), #{}, fun(_) ->
            Again = fun() -> erlmcp_native_otlp_test_lib:counted(otlp_failed) > Failed + 1 end,
            erlmcp_native_test_lib:eventually(Again, ?WAIT_MS)
        end)
    end),
    close(Bad),
    %% The library says nothing itself.
    ?assertMatch([{warning, _}], Lines),
    ?assertMatch({match, _}, re:run(element(2, hd(Lines)), "no TLS connection: .*unknown_ca")).
