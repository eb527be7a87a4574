-module(erlmcp_native_otlp_options).
-moduledoc """
The options of `m:erlmcp_native_otlp`, checked by name at the door.

| option | value | default |
| --- | --- | --- |
| `endpoint` | URL that metrics are posted to as it stands, http or https; must be given | |
| `interval_ms` | milliseconds from one snapshot to the next, 100 to 3600000 | 10000 |
| `timeout_ms` | how long one push may take in all, 100 to 60000 | 5000 |
| `compression` | `gzip` or `none` | `gzip` |
| `headers` | list of `{Name, Value}` that each push carries, such as `authorization` | `[]` |
| `resource` | map of attributes that say what is measured: names to texts, numbers, booleans | `#{}` |

Texts are strings or binaries. To the resource are added, unless they are given, `service.instance.id`, which is the
node, or the host and the process id of a node without a name, and `service.name`, which is `erlmcp_native`, with
its `service.version`.

An endpoint with https needs the applications ssl and public_key and the system's CA certificates. CA certificates of
one's own are set with `public_key`'s `cacerts_path`.

What is wrong is told with its value, unless that may be a secret: then it is `hidden`.
""".

-export([check/1, resource/1, version/0]).

-export_type([options/0, attribute/0, problem/0]).

-doc "Every option with its value, all texts as binaries.".
-type options() :: #{
    endpoint := binary(),
    interval_ms := 100..3600000,
    timeout_ms := 100..60000,
    compression := gzip | none,
    headers := [{Name :: binary(), Value :: binary()}],
    resource := #{binary() => attribute()}
}.
-doc "An attribute of a resource.".
-type attribute() :: binary() | number() | boolean().
-doc "The path to what is wrong, its value or `hidden`, and what was expected there.".
-type problem() :: {Path :: [term()], Value :: term(), Expected :: string()}.

-define(URL, "an URL such as http://127.0.0.1:4318/v1/metrics, with http or https").
%% What a push says itself, or what would change how it is read.
-define(RESERVED, [
    ~"host", ~"user-agent", ~"content-type", ~"content-encoding", ~"content-length", ~"connection",
    ~"transfer-encoding", ~"te", ~"trailer", ~"upgrade", ~"expect", ~"keep-alive"
]).
-define(MAX_HEADERS, 64).
-define(MAX_HEADER_BYTES, 8192).
-define(INT64(N), (N >= -(1 bsl 63) andalso N < 1 bsl 63)).

-doc "Checks options, and adds those that are not given. What it returns passes unchanged.".
-spec check(term()) -> {ok, options()} | {error, problem()}.
check(#{endpoint := _} = Given) ->
    try
        {ok, maps:merge(defaults(), maps:map(fun option/2, Given))}
    catch
        throw:{problem, Problem} -> {error, Problem}
    end;
check(Given) when is_map(Given) ->
    {error, {[endpoint], undefined, ?URL}};
check(_) ->
    {error, {[], hidden, "a map of options"}}.

-doc "The resource of this node, as of now.".
-spec resource(options()) -> #{binary() => attribute()}.
resource(#{resource := Given}) ->
    Service =
        case Given of
            #{~"service.name" := _} -> #{};
            #{} -> #{~"service.name" => ~"erlmcp_native", ~"service.version" => version()}
        end,
    maps:merge(Service#{~"service.instance.id" => instance()}, Given).

-doc "The version of this application, if that is loaded.".
-spec version() -> binary().
version() ->
    case application:get_key(erlmcp_native, vsn) of
        {ok, Version} -> list_to_binary(Version);
        undefined -> ~"unknown"
    end.

instance() ->
    case is_alive() of
        true ->
            atom_to_binary(node());
        false ->
            {ok, Host} = inet:gethostname(),
            unicode:characters_to_binary([Host, $:, os:getpid()])
    end.

defaults() ->
    #{interval_ms => 10000, timeout_ms => 5000, compression => gzip, headers => [], resource => #{}}.

option(endpoint, Value) ->
    endpoint(text(Value), Value);
option(interval_ms, Ms) ->
    within(interval_ms, Ms, 100, 3600000);
option(timeout_ms, Ms) ->
    within(timeout_ms, Ms, 100, 60000);
option(compression, Value) ->
    lists:member(Value, [gzip, none]) orelse bad([compression], Value, "gzip or none"),
    Value;
option(headers, Headers) when is_list(Headers), length(Headers) =< ?MAX_HEADERS ->
    [header(Header) || Header <- Headers];
option(headers, _) ->
    bad([headers], hidden, "a list of at most 64 {Name, Value}");
option(resource, Attributes) when is_map(Attributes) ->
    maps:from_list([attribute(Name, Value) || Name := Value <- Attributes]);
option(resource, Value) ->
    bad([resource], Value, "a map of attributes");
option(Name, _) ->
    bad([Name], hidden, "one of endpoint, interval_ms, timeout_ms, compression, headers, resource").

within(Name, Ms, Least, Most) ->
    (is_integer(Ms) andalso Ms >= Least andalso Ms =< Most) orelse
        bad([Name], Ms, lists:flatten(io_lib:format("milliseconds, an integer from ~b to ~b", [Least, Most]))),
    Ms.

endpoint({ok, Endpoint}, _) ->
    case erlmcp_native_otlp_url:parse(Endpoint) of
        {ok, #{scheme := https}} ->
            tls() orelse
                bad([endpoint], Endpoint, "http, or ssl, public_key and the system's CA certificates for https"),
            Endpoint;
        {ok, _} ->
            Endpoint;
        {error, credentials} ->
            bad([endpoint], hidden, "an URL without user and password, which are given in headers");
        {error, no_url} ->
            bad([endpoint], unless_credentials(Endpoint), ?URL)
    end;
endpoint(error, Value) ->
    bad([endpoint], Value, ?URL).

unless_credentials(Endpoint) ->
    case binary:match(Endpoint, ~"@") of
        nomatch -> Endpoint;
        _ -> hidden
    end.

tls() ->
    try
        {module, ssl} = code:ensure_loaded(ssl),
        [_ | _] = public_key:cacerts_get(),
        true
    catch
        error:_ -> false
    end.

header({Name, Value}) ->
    case {text(Name), text(Value)} of
        {{ok, NameText}, {ok, ValueText}} ->
            is_token(NameText) orelse bad([headers, Name], hidden, "the name of a header"),
            lists:member(string:lowercase(NameText), ?RESERVED) andalso
                bad([headers, Name], hidden, "no header that a push sets itself"),
            is_field_value(ValueText) orelse
                bad([headers, Name], hidden, "visible ASCII characters and blanks, at most 8192"),
            {NameText, ValueText};
        _ ->
            bad([headers], hidden, "a name and a value as strings or binaries")
    end;
header(_) ->
    bad([headers], hidden, "a list of {Name, Value}").

is_token(Text) ->
    byte_size(Text) =< 256 andalso re:run(Text, ~"\\A[A-Za-z0-9!#$%&'*+.^_`|~-]+\\z", [{capture, none}]) =:= match.

is_field_value(Text) ->
    byte_size(Text) =< ?MAX_HEADER_BYTES andalso re:run(Text, ~"\\A[\\t\\x20-\\x7e]*\\z", [{capture, none}]) =:= match.

attribute(Name, Value) ->
    case {name(Name), value(Value)} of
        {{ok, <<_, _/binary>> = NameText}, {ok, Checked}} -> {NameText, Checked};
        {{ok, <<_, _/binary>>}, error} -> bad([resource, Name], Value, "a text, a number of 64 bits or a boolean");
        _ -> bad([resource, Name], Value, "a name of an attribute as atom, string or binary")
    end.

name(Name) when is_atom(Name) -> {ok, atom_to_binary(Name)};
name(Name) -> text(Name).

value(Value) when is_boolean(Value); is_float(Value) -> {ok, Value};
value(Value) when is_integer(Value), ?INT64(Value) -> {ok, Value};
value(Value) -> text(Value).

text(Text) when is_binary(Text); is_list(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> {ok, Binary};
        _ -> error
    catch
        error:badarg -> error
    end;
text(_) ->
    error.

-spec bad([term()], term(), string()) -> no_return().
bad(Path, Value, Expected) ->
    throw({problem, {Path, Value, Expected}}).
