-module(erlmcp_native_http_reply).
-moduledoc "Answers in the one shape that all HTTP endpoints share, and what every request is asked first.".

-export([admit/1, json/2, failure/2, problem/1, not_started/1, not_modified/1, guarded/1, send/2]).

-export_type([answer/0]).

-doc "An answer has a status, headers and a body.".
-type answer() :: {Status :: 200..599, Headers :: #{binary() => iodata()}, Body :: iodata()}.

-doc "Tells whether a request is a GET or a HEAD without a body, or else what to answer.".
-spec admit(cowboy_req:req()) -> ok | {error, answer()}.
admit(#{method := Method, has_body := HasBody}) ->
    if
        Method =/= ~"GET", Method =/= ~"HEAD" -> {error, failure(405, ~"there are GET and HEAD only")};
        HasBody -> {error, failure(400, ~"a request has no body here")};
        true -> ok
    end.

-doc "Makes an answer in JSON.".
-spec json(200..599, map()) -> answer().
json(Status, Map) ->
    Headers = guarded(#{~"content-type" => ~"application/json", ~"cache-control" => ~"no-store"}),
    {Status, Headers, erlmcp_native_http_json:encode(Map)}.

-doc "Makes an answer that says in JSON, for people, what is wrong.".
-spec failure(400..599, binary()) -> answer().
failure(Status, Reason) ->
    more(Status, json(Status, #{error => kind(Status), reason => Reason})).

-doc "Makes the answer to a wrong parameter.".
-spec problem(erlmcp_native_http_query:problem()) -> answer().
problem({none, Reason}) ->
    failure(400, Reason);
problem({Parameter, Reason}) ->
    json(400, #{error => bad_parameter, parameter => Parameter, reason => Reason}).

-doc "Makes the answer to what is asked of a service that is not started.".
-spec not_started(module()) -> answer().
not_started(Service) ->
    failure(503, <<(atom_to_binary(Service))/binary, " is not started">>).

-doc "Makes the answer that what the client has is still right.".
-spec not_modified(Headers :: #{binary() => iodata()}) -> answer().
not_modified(Headers) ->
    {304, Headers, <<>>}.

-doc """
Adds to the headers of an answer what keeps it from other sites: they may not embed it, are not told that somebody came
from here, and no type is guessed. None may read it either, for which nothing has to be said (CORS).
""".
-spec guarded(#{binary() => iodata()}) -> #{binary() => iodata()}.
guarded(Headers) ->
    Headers#{
        ~"cross-origin-resource-policy" => ~"same-origin",
        ~"referrer-policy" => ~"no-referrer",
        ~"x-content-type-options" => ~"nosniff"
    }.

-doc "Sends an answer. After an error in HTTP/1 with a body nothing is read from the connection any more.".
-spec send(answer(), cowboy_req:req()) -> cowboy_req:req().
send({Status, Headers, Body}, #{has_body := true, version := Version} = Req) when
    Version =:= 'HTTP/1.1'; Version =:= 'HTTP/1.0'
->
    cowboy_req:reply(Status, Headers#{~"connection" => ~"close"}, Body, Req);
send({Status, Headers, Body}, Req) ->
    cowboy_req:reply(Status, Headers, Body, Req).

kind(401) -> unauthorized;
kind(404) -> not_found;
kind(405) -> method_not_allowed;
kind(421) -> misdirected;
kind(500) -> internal_error;
kind(503) -> unavailable;
kind(_) -> bad_request.

more(405, {Status, Headers, Body}) -> {Status, Headers#{~"allow" => ~"GET, HEAD"}, Body};
more(503, {Status, Headers, Body}) -> {Status, Headers#{~"retry-after" => ~"5"}, Body};
more(_, Answer) -> Answer.
