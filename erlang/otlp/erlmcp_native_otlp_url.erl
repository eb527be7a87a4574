-module(erlmcp_native_otlp_url).
-moduledoc """
The URL of an OTLP endpoint, taken apart.

```erlang
1> erlmcp_native_otlp_url:parse(~"http://127.0.0.1:4318/v1/metrics").
{ok,#{port => 4318,scheme => http,path => <<"/v1/metrics">>,host => {127,0,0,1},authority => <<"127.0.0.1:4318">>}}
```
""".

-export([parse/1, name/1]).

-export_type([target/0]).

-doc "A target is an endpoint, taken apart.".
-type target() :: #{
    scheme := http | https,
    host := inet:hostname() | inet:ip_address(),
    port := inet:port_number(),
    %% Host, and port unless it is the scheme's.
    authority := binary(),
    %% Path and query.
    path := binary()
}.

-doc "Takes a URL apart. One with user and password is refused: those would show wherever the URL does.".
-spec parse(binary()) -> {ok, target()} | {error, credentials | no_url}.
parse(Url) ->
    Visible = lists:all(fun(Byte) -> Byte > $\s andalso Byte < 127 end, binary_to_list(Url)),
    case Visible andalso uri_string:parse(Url) of
        #{userinfo := _} ->
            {error, credentials};
        #{scheme := Scheme, host := Host} = Parts when not is_map_key(fragment, Parts) ->
            maybe
                {ok, Kind, Default} ?= scheme(string:lowercase(Scheme)),
                {ok, Port} ?= port(maps:get(port, Parts, undefined), Default),
                {ok, Address, Written} ?= host(Host),
                {ok, #{
                    scheme => Kind,
                    host => Address,
                    port => Port,
                    authority => authority(Written, Port, Default),
                    path => path(Parts)
                }}
            end;
        _ ->
            {error, no_url}
    end.

-doc "Returns an endpoint as it may be logged: without its path and query, where some services want their keys.".
-spec name(target()) -> binary().
name(#{scheme := Scheme, authority := Authority}) ->
    <<(atom_to_binary(Scheme))/binary, "://", Authority/binary>>.

scheme(~"http") -> {ok, http, 80};
scheme(~"https") -> {ok, https, 443};
scheme(_) -> {error, no_url}.

port(undefined, Default) -> {ok, Default};
port(Port, _) when Port > 0, Port < 65536 -> {ok, Port};
port(_, _) -> {error, no_url}.

host(Host) ->
    case inet:parse_strict_address(binary_to_list(Host)) of
        {ok, Address} when tuple_size(Address) =:= 8 -> {ok, Address, <<$[, Host/binary, $]>>};
        {ok, Address} -> {ok, Address, Host};
        {error, einval} -> hostname(Host)
    end.

hostname(Host) ->
    case byte_size(Host) < 256 andalso re:run(Host, ~"\\A[A-Za-z0-9._-]+\\z", [{capture, none}]) of
        match -> {ok, binary_to_list(Host), Host};
        _ -> {error, no_url}
    end.

authority(Host, Port, Port) -> Host;
authority(Host, Port, _Default) -> <<Host/binary, $:, (integer_to_binary(Port))/binary>>.

path(#{path := Path} = Parts) ->
    Query =
        case Parts of
            #{query := Text} -> <<$?, Text/binary>>;
            #{} -> <<>>
        end,
    case Path of
        <<>> -> <<$/, Query/binary>>;
        _ -> <<Path/binary, Query/binary>>
    end.
