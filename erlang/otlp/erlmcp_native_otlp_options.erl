-module(erlmcp_native_otlp_options).
-moduledoc """
The options of `m:erlmcp_native_otlp`, checked by name at the door.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `endpoint` | a URL such as http://127.0.0.1:4318/v1/metrics, with http or https | must be given | Where metrics are posted to, as it stands. |
| `interval_ms` | milliseconds, an integer from 100 to 3600000 | `10000` | The time from one snapshot to the next. |
| `timeout_ms` | milliseconds, an integer from 100 to 60000 | `5000` | How long one push may take in all. |
| `compression` | gzip or none | `gzip` | How a push is packed. |
| `headers` | a list of at most 64 {Name, Value} | `[]` | What each push carries besides, such as `authorization`. |
| `resource` | a map of attributes | `#{}` | What is measured: names to texts, numbers, booleans. |

Texts are strings or binaries. To the resource are added, unless they are given, `service.instance.id`, which is the
node, or the host and the process id of a node without a name, and `service.name`, which is `erlmcp_native`, with
its `service.version`.

An endpoint with https needs the applications ssl and public_key and the system's CA certificates. CA certificates of
one's own are set with `public_key`'s `cacerts_path`.

What is wrong is told with its value, unless that may be a secret: then it is `hidden`.
""".

-export([check/1, table/0, resource/1, version/0]).

-export_type([options/0, attribute/0, problem/0]).

-doc "This map has every option of the pusher with its value, all texts as binaries.".
-type options() :: #{
    endpoint := binary(),
    interval_ms := 100..3600000,
    timeout_ms := 100..60000,
    compression := gzip | none,
    headers := [{Name :: binary(), Value :: binary()}],
    resource := #{binary() => attribute()}
}.
-doc "An attribute of a resource is a text, a number or a boolean.".
-type attribute() :: binary() | number() | boolean().
-doc "A problem says what is wrong with the options.".
-type problem() :: erlmcp_native_options:problem().

-define(URL, "a URL such as http://127.0.0.1:4318/v1/metrics, with http or https").
%% What a push says itself, or what would change how it is read.
-define(RESERVED, [
    ~"host", ~"user-agent", ~"content-type", ~"content-encoding", ~"content-length", ~"connection",
    ~"transfer-encoding", ~"te", ~"trailer", ~"upgrade", ~"expect", ~"keep-alive"
]).
-define(MAX_HEADERS, 64).
-define(MAX_HEADER_BYTES, 8192).
-define(INT64(N), (N >= -(1 bsl 63) andalso N < 1 bsl 63)).

-doc "Checks the pusher's options, and adds those that are not given. What it returns passes unchanged.".
-spec check(term()) -> {ok, options()} | {error, problem()}.
check(Given) ->
    erlmcp_native_options:check(erlmcp_native_options:options(table()), Given).

-doc "Returns the table of options.".
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => endpoint,
            type => erlmcp_native_options:checked(?URL, fun endpoint/1),
            default => required,
            doc => ~"Where metrics are posted to, as it stands."
        },
        #{
            name => interval_ms,
            type => erlmcp_native_options:milliseconds(100, 3600000),
            default => 10000,
            doc => ~"The time from one snapshot to the next."
        },
        #{
            name => timeout_ms,
            type => erlmcp_native_options:milliseconds(100, 60000),
            default => 5000,
            doc => ~"How long one push may take in all."
        },
        #{
            name => compression,
            type => erlmcp_native_options:one_of([gzip, none]),
            default => gzip,
            doc => ~"How a push is packed."
        },
        #{
            name => headers,
            type => headers(),
            default => [],
            doc => ~"What each push carries besides, such as `authorization`."
        },
        #{
            name => resource,
            type => erlmcp_native_options:named(
                "a map of attributes",
                erlmcp_native_options:map_of(
                    erlmcp_native_options:checked("a name of an attribute as atom, string or binary", fun name/1),
                    erlmcp_native_options:checked("a text, a number of 64 bits or a boolean", fun attribute/1)
                )
            ),
            default => #{},
            doc => ~"What is measured: names to texts, numbers, booleans."
        }
    ].

-doc "Returns the resource of this node, as of now.".
-spec resource(options()) -> #{binary() => attribute()}.
resource(#{resource := Given}) ->
    Service =
        case Given of
            #{~"service.name" := _} -> #{};
            #{} -> #{~"service.name" => ~"erlmcp_native", ~"service.version" => version()}
        end,
    maps:merge(Service#{~"service.instance.id" => instance()}, Given).

-doc "Returns the version of this application, if that is loaded.".
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

headers() ->
    Expected = "a list of at most 64 {Name, Value}",
    List = erlmcp_native_options:list_of(erlmcp_native_options:checked("{Name, Value}", fun header/1)),
    erlmcp_native_options:secret(
        erlmcp_native_options:at_most(?MAX_HEADERS, Expected, erlmcp_native_options:named(Expected, List))
    ).

endpoint(Value) when is_atom(Value); is_number(Value) ->
    false;
endpoint(Value) ->
    maybe
        {ok, Endpoint} ?= text(Value),
        case erlmcp_native_otlp_url:parse(Endpoint) of
            {ok, #{scheme := https} = Target} -> with_tls(Endpoint, Target);
            {ok, _} -> {ok, Endpoint};
            {error, credentials} -> wrong([], "a URL without user and password, which are given in headers");
            {error, no_url} -> wrong([], ?URL)
        end
    else
        false -> wrong([], ?URL)
    end.

with_tls(Endpoint, Target) ->
    case tls() of
        true -> {ok, Endpoint};
        false ->
            Expected = "http, or ssl, public_key and the system's CA certificates for https",
            {error, {[], erlmcp_native_otlp_url:name(Target), Expected}}
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
    maybe
        {{ok, NameText}, {ok, ValueText}} ?= {text(Name), text(Value)},
        case {is_token(NameText), lists:member(string:lowercase(NameText), ?RESERVED), is_field_value(ValueText)} of
            {false, _, _} -> wrong([Name], "the name of a header");
            {_, true, _} -> wrong([Name], "no header that a push sets itself");
            {_, _, false} -> wrong([Name], "visible ASCII characters and blanks, at most 8192");
            {true, false, true} -> {ok, {NameText, ValueText}}
        end
    else
        _ -> wrong([], "a name and a value as strings or binaries")
    end;
header(_) ->
    wrong([], "a list of {Name, Value}").

is_token(Text) ->
    byte_size(Text) =< 256 andalso re:run(Text, ~"\\A[A-Za-z0-9!#$%&'*+.^_`|~-]+\\z", [{capture, none}]) =:= match.

is_field_value(Text) ->
    byte_size(Text) =< ?MAX_HEADER_BYTES andalso
        re:run(Text, ~"\\A[\\t\\x20-\\x7e]*\\z", [{capture, none}]) =:= match.

name(Name) when is_atom(Name) ->
    {ok, atom_to_binary(Name)};
name(Name) ->
    case text(Name) of
        {ok, <<>>} -> false;
        Result -> Result
    end.

attribute(Value) when is_boolean(Value); is_float(Value) -> true;
attribute(Value) when is_integer(Value) -> ?INT64(Value);
attribute(Value) -> text(Value).

text(Value) ->
    case erlmcp_native_options:check(erlmcp_native_options:text(), Value) of
        {ok, _} = Ok -> Ok;
        {error, _} -> false
    end.

wrong(Path, Expected) ->
    {error, {Path, hidden, Expected}}.
