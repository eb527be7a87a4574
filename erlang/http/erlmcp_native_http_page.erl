-module(erlmcp_native_http_page).
-moduledoc """
The files of the page: `index.html` at `/`, the rest below `/page/`.

Names are made of letters, digits, `.`, `-` and `_`, and begin with none of the last three, so that no path leads out
of the folder. The browser may keep a file and asks each time whether it still is the same. Query strings are ignored.
All links in the page are relative, so it may be mounted below any path.
""".

-compile(nowarn_undefined_behaviour).
-behaviour(cowboy_handler).

-export([init/2]).

-export_type([resource/0]).

-doc "A resource is a folder, `priv` for this application's own, and whether its index is meant or what is below.".
-type resource() :: {index | file, priv | file:filename()}.

-define(POLICY,
    <<
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    >>
).

-doc false.
-spec init(cowboy_req:req(), resource()) -> {ok, cowboy_req:req(), resource()}.
init(Req, Resource) ->
    Answer =
        case erlmcp_native_http_reply:admit(Req) of
            ok -> find(Resource, Req);
            {error, Refusal} -> Refusal
        end,
    {ok, erlmcp_native_http_reply:send(Answer, Req), Resource}.

find({index, Folder}, Req) ->
    case lists:last(binary:split(cowboy_req:path(Req), ~"/", [global])) of
        <<>> -> read(Folder, [~"index.html"], Req);
        %% Below a prefix the router takes it without its slash too, but then the page's links lead elsewhere.
        Name -> {308, erlmcp_native_http_reply:guarded(#{~"location" => [Name, $/]}), <<>>}
    end;
find({file, Folder}, Req) ->
    case cowboy_req:path_info(Req) of
        [_ | _] = Names -> read(Folder, Names, Req);
        _ -> absent()
    end.

read(Folder, Names, Req) ->
    maybe
        true ?= lists:all(fun is_name/1, Names),
        {ok, Bytes} ?= file:read_file(filename:join([folder(Folder) | Names])),
        present(Bytes, filename:extension(lists:last(Names)), Req)
    else
        _ -> absent()
    end.

is_name(<<First, Rest/binary>>) ->
    is_alphanumeric(First) andalso
        lists:all(fun(Byte) -> is_alphanumeric(Byte) orelse lists:member(Byte, ".-_") end, binary_to_list(Rest));
is_name(<<>>) ->
    false.

is_alphanumeric(Byte) ->
    (Byte >= $a andalso Byte =< $z) orelse (Byte >= $A andalso Byte =< $Z) orelse (Byte >= $0 andalso Byte =< $9).

folder(priv) ->
    case code:priv_dir(erlmcp_native) of
        {error, bad_name} -> filename:join([filename:dirname(filename:dirname(code:which(?MODULE))), "priv", "page"]);
        Priv -> filename:join(Priv, "page")
    end;
folder(Folder) ->
    Folder.

absent() ->
    erlmcp_native_http_reply:failure(404, ~"there is no such file").

present(Bytes, Extension, Req) ->
    Tag = binary:encode_hex(erlang:md5(Bytes)),
    Headers = erlmcp_native_http_reply:guarded(#{
        ~"content-type" => type(Extension),
        ~"cache-control" => ~"no-cache",
        ~"etag" => <<$", Tag/binary, $">>,
        ~"content-security-policy" => ?POLICY
    }),
    case has(Tag, Req) of
        true -> erlmcp_native_http_reply:not_modified(maps:remove(~"content-type", Headers));
        false -> {200, Headers, Bytes}
    end.

has(Tag, Req) ->
    try cowboy_req:parse_header(~"if-none-match", Req) of
        undefined -> false;
        '*' -> true;
        Tags -> lists:any(fun({_, Of}) -> Of =:= Tag end, Tags)
    catch
        exit:{request_error, _, _} -> false
    end.

type(~".html") -> ~"text/html; charset=utf-8";
type(~".js") -> ~"text/javascript; charset=utf-8";
type(~".css") -> ~"text/css; charset=utf-8";
type(~".json") -> ~"application/json";
type(~".svg") -> ~"image/svg+xml";
type(~".png") -> ~"image/png";
type(~".ico") -> ~"image/vnd.microsoft.icon";
type(~".woff2") -> ~"font/woff2";
type(~".txt") -> ~"text/plain; charset=utf-8";
type(_) -> ~"application/octet-stream".
