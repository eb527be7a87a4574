-module(erlmcp_native_http_token).
-moduledoc """
The token that whoever asks our own listener has to know, if there is one. It is in a file or in an environment
variable, and is read anew for each request: another one counts at once, and nothing here keeps it.

It is sent as `authorization: Bearer TOKEN`. A browser, which has no way to send that for a page, may send it as the
password of any user. Tokens are compared by their digests, in constant time.
""".

-include_lib("kernel/include/file.hrl").

-export([type/0, check/2]).

-export_type([source/0, refusal/0]).

-doc "A source says where the token is.".
-type source() :: {file, file:filename_all()} | {env, string()}.
-doc """
A refusal says why nobody is let in: nothing was given, something else was given, or the token cannot be read, since it
is not what was expected.
""".
-type refusal() :: missing | wrong | {unreadable, Expected :: string()}.

-define(SHORTEST, 16).
-define(LONGEST, 1024).
-define(MAX_FILE_BYTES, 4096).
-define(MAX_NAME, 4096).

-doc "Returns the type of the option that says where the token is. What is there must be a token.".
-spec type() -> erlmcp_native_options:type().
type() ->
    %% A token in the place of its source is not to be told.
    Type = erlmcp_native_options:checked("{file, Name} or {env, Name} of what has a token", fun is_source/1),
    erlmcp_native_options:secret(Type).

is_source({Kind, Name}) when Kind =:= file; Kind =:= env ->
    maybe
        {ok, Text} ?= erlmcp_native_options:check(erlmcp_native_options:text(), Name),
        true ?= byte_size(Text) > 0 andalso byte_size(Text) =< ?MAX_NAME,
        nomatch ?= binary:match(Text, impossible(Kind)),
        Source = {Kind, unicode:characters_to_list(Text)},
        {ok, _} ?= read(Source),
        {ok, Source}
    else
        {error, Expected} when is_list(Expected) -> {error, {[], hidden, Expected}};
        _ -> false
    end;
is_source(_) ->
    false.

%% In such a name.
impossible(file) -> [<<0>>];
impossible(env) -> [<<0>>, ~"="].

-doc "Tells whether this is the value of a header `authorization` that has the token.".
-spec check(Authorization :: binary() | undefined, source()) -> ok | {error, refusal()}.
check(Authorization, Source) ->
    case {given(Authorization), read(Source)} of
        {_, {error, Expected}} -> {error, {unreadable, Expected}};
        {none, _} -> {error, missing};
        {Given, {ok, Token}} -> compare(Given, Token)
    end.

compare(Given, Token) ->
    case crypto:hash_equals(crypto:hash(sha256, Given), crypto:hash(sha256, Token)) of
        true -> ok;
        false -> {error, wrong}
    end.

given(undefined) ->
    none;
given(Authorization) ->
    try cow_http_hd:parse_authorization(Authorization) of
        {bearer, Given} -> Given;
        {basic, _User, Given} -> Given;
        _ -> none
    catch
        %% What does not parse is cowlib's to crash on, and has the secret in it.
        _:_ -> none
    end.

read({file, Name}) ->
    maybe
        {ok, Bytes} ?= file_bytes(Name),
        token(Bytes, io_lib:format("the file ~0tp", [Name]))
    else
        {error, Reason} ->
            {error, flat("the file ~0tp to be one that can be read: ~ts", [Name, reason(Reason)])}
    end;
read({env, Name}) ->
    case os:getenv(Name) of
        false -> {error, flat("the environment variable ~0tp to be set", [Name])};
        Value -> token(unicode:characters_to_binary(Value), io_lib:format("the environment variable ~0tp", [Name]))
    end.

%% Nothing else than a file is opened: a pipe would be waited for.
file_bytes(Name) ->
    maybe
        {ok, #file_info{type = regular}} ?= file:read_file_info(Name, [raw]),
        {ok, File} ?= file:open(Name, [read, raw, binary]),
        Read = file:read(File, ?MAX_FILE_BYTES + 1),
        ok = file:close(File),
        case Read of
            eof -> {ok, <<>>};
            _ -> Read
        end
    else
        {ok, #file_info{}} -> {error, no_file};
        {error, _} = Error -> Error
    end.

reason(no_file) -> "it is no regular file";
reason(Reason) -> file:format_error(Reason).

token(Bytes, Where) when is_binary(Bytes), byte_size(Bytes) =< ?MAX_FILE_BYTES ->
    case re:run(Bytes, ~"\\A\\s*([A-Za-z0-9._~+/-]+=*)\\s*\\z", [{capture, all_but_first, binary}]) of
        {match, [Token]} when byte_size(Token) >= ?SHORTEST, byte_size(Token) =< ?LONGEST -> {ok, Token};
        _ -> not_a_token(Where)
    end;
token(_, Where) ->
    not_a_token(Where).

not_a_token(Where) ->
    {error, flat("~ts to have one token of ~b to ~b letters, digits and -._~~+/, and nothing else", [
        Where, ?SHORTEST, ?LONGEST
    ])}.

flat(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).
