-module(erlmcp_native_http_door).
-moduledoc """
Who is let in by our own listener: whoever asks for a host of that name, and knows the token if there is one.

A web page on the internet can have its own host name resolve to an address of this machine, and read with a browser
here what is on that (DNS rebinding). The browser then says that name, in `host`. So on a loopback address names that
are not ours are refused, with 421: what RFC 9110 has (section 15.5.20) for a request at an origin that the server is
not configured for. A client that says no host, as some probes in HTTP/1.0, is no browser.
""".

-include_lib("kernel/include/logger.hrl").

-export([hosts/0, new/1, admit/2]).

-export_type([door/0]).

-doc "A door has the names that it knows, and where the token is.".
-opaque door() :: #{hosts := any | [binary()], token := none | erlmcp_native_http_token:source()}.

-define(MAX_HOSTS, 64).
%% Of labels, none of them empty; with the root's, which is, at its end.
-define(NAME, ~"\\A([a-z0-9_-]+\\.)*[a-z0-9_-]+\\.?\\z").
-define(REALM, "realm=\"erlmcp_native\"").

-doc "Returns the type of the option that says more names.".
-spec hosts() -> erlmcp_native_options:type().
hosts() ->
    Expected = "any, or a list of at most 64 host names without ports",
    Such = "a host name without a port, such as \"ops.example.org\" or \"[fd00::1]\"",
    Name = erlmcp_native_options:checked(Such, fun host_name/1),
    Names = erlmcp_native_options:at_most(?MAX_HOSTS, "at most 64 host names", erlmcp_native_options:list_of(Name)),
    erlmcp_native_options:named(Expected, erlmcp_native_options:optional(any, Names)).

host_name(Given) ->
    maybe
        {ok, Text} ?= erlmcp_native_options:check(erlmcp_native_options:text(), Given),
        true ?= byte_size(Text) < 256,
        Lower = string:lowercase(Text),
        true ?= address(Lower) =/= none orelse re:run(Lower, ?NAME, [{capture, none}]) =:= match,
        {ok, same_name(Lower)}
    else
        _ -> false
    end.

-doc "Makes the door of a listener with these options.".
-spec new(erlmcp_native_http:options()) -> door().
new(#{ip := Ip} = Options) ->
    Hosts =
        case Options of
            #{hosts := any} -> any;
            #{hosts := Names} -> own(Ip) ++ Names;
            #{} -> case is_loopback(Ip) of true -> own(Ip); false -> any end
        end,
    #{hosts => Hosts, token => maps:get(token, Options, none)}.

own(Ip) ->
    lists:usort([~"localhost", ~"127.0.0.1", ~"[::1]", literal(Ip)]).

literal(Ip) when tuple_size(Ip) =:= 4 -> list_to_binary(inet:ntoa(Ip));
literal(Ip) -> list_to_binary(["[", inet:ntoa(Ip), "]"]).

is_loopback({127, _, _, _}) -> true;
is_loopback({0, 0, 0, 0, 0, 0, 0, 1}) -> true;
is_loopback({0, 0, 0, 0, 0, 16#ffff, High, _}) -> High bsr 8 =:= 127;
is_loopback(_) -> false.

-doc """
Lets a request in, without the header that may have a secret in it, so that no crash report has it; or says what to
answer.
""".
-spec admit(cowboy_req:req(), door()) -> {ok, cowboy_req:req()} | {error, erlmcp_native_http_reply:answer()}.
admit(#{headers := Headers} = Req, #{hosts := Hosts, token := Source}) ->
    maybe
        true ?= is_ours(Req, Hosts) orelse {error, misdirected},
        ok ?= known(maps:get(~"authorization", Headers, undefined), Source),
        {ok, Req#{headers := maps:remove(~"authorization", Headers)}}
    else
        {error, Refusal} -> {error, answer(Refusal)}
    end.

is_ours(_, any) -> true;
is_ours(#{host := Host, headers := #{~"host" := _}}, Hosts) -> lists:member(same_name(Host), Hosts);
is_ours(#{}, _) -> true.

%% `localhost.` is `localhost`, and `[0::1]` is `[::1]`.
same_name(Host) ->
    Length = byte_size(Host) - 1,
    case {address(Host), Host} of
        {none, <<Name:Length/binary, $.>>} -> Name;
        {none, _} -> Host;
        {Ip, _} -> literal(Ip)
    end.

%% Of IPv6, in its brackets.
address(Host) ->
    Length = byte_size(Host) - 2,
    maybe
        <<$[, Text:Length/binary, $]>> ?= Host,
        true ?= Length < 64,
        {ok, Ip} ?= inet:parse_ipv6strict_address(binary_to_list(Text)),
        %% A zone is of one machine.
        nomatch ?= binary:match(Text, ~"%"),
        Ip
    else
        _ -> none
    end.

known(_, none) -> ok;
known(Authorization, Source) -> erlmcp_native_http_token:check(Authorization, Source).

answer(misdirected) ->
    Reason = ~"this host is not served here: ask for localhost, or have the name added to the option hosts",
    erlmcp_native_http_reply:failure(421, Reason);
answer({unreadable, Expected}) ->
    erlmcp_native_log:write(
        error, "erlmcp_native lets nobody in over HTTP: it expects ~ts", [Expected], ?LOCATION, #{source => ?MODULE}
    ),
    erlmcp_native_http_reply:failure(503, ~"the token of this node cannot be read, see its log");
answer(missing) ->
    challenge(~"", ~"a token is needed here");
answer(wrong) ->
    challenge(~", error=\"invalid_token\"", ~"this is not the token").

%% Two lines, since browsers do not look for a second scheme in one.
challenge(Error, Reason) ->
    {Status, Headers, Body} = erlmcp_native_http_reply:failure(401, Reason),
    Challenges = #{
        ~"www-authenticate" => [~"Bearer ", ?REALM, Error],
        ~"WWW-Authenticate" => [~"Basic ", ?REALM, ~", charset=\"UTF-8\""]
    },
    {Status, maps:merge(Headers, Challenges), Body}.
