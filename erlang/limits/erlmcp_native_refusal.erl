-module(erlmcp_native_refusal).
-moduledoc """
Reads a refusal, in any of the forms in which it is met, and says it in words, in seconds and in JSON-RPC.

What is made of it has only texts, numbers and `null` in it, which every encoder of JSON takes, and nothing of whom the
refusal was for: neither an owner's process nor a rate's key, which may be a secret, such as an API key.
""".

-export([read/1, seconds/1, words/1, name/1, data/1, json_rpc/3]).

-export_type([refusal/0]).

-doc """
A refusal is of a queue (`t:erlmcp_queue_limits:refusal/0`), of a rate (`t:erlmcp_queue_limits:rate_refusal/0`), or for
good: what costs more than a rate's whole burst is never let in.
""".
-type refusal() ::
    {queue, erlmcp_queue_limits:refusal()}
    | {rate, erlmcp_queue_limits:rate_refusal()}
    | {cost, #{name := term(), burst := pos_integer(), atom() => term()}}.

%% With a fifth more it is less than 2^31, which is all that clients need to understand.
-define(LONGEST_SECONDS, 1_750_000_000).
%% In characters: a name may be any term.
-define(LONGEST_NAME, 255).

-doc "Reads the statistics of a refusal, with or without their tag and `error`.".
-spec read(term()) -> refusal() | error.
read({error, {_, _} = Reason}) -> tagged(Reason);
read({_, _} = Reason) -> tagged(Reason);
read(#{retry_after_ms := _, role := _} = Stats) -> tagged({capacity_exceeded, Stats});
read(Stats) -> tagged({rate_limited, Stats}).

tagged(
    {capacity_exceeded, #{role := Role, limit := Limit, depth := Depth, retry_after_ms := RetryAfterMs} = Stats}
) when
    is_atom(Role),
    is_integer(Limit) andalso Limit >= 0 orelse Limit =:= infinity,
    is_integer(Depth), Depth >= 0,
    is_integer(RetryAfterMs), RetryAfterMs >= 0,
    not is_map_key(reason, Stats) orelse is_atom(map_get(reason, Stats)),
    not is_map_key(class, Stats) orelse is_atom(map_get(class, Stats))
->
    {queue, Stats};
tagged({rate_limited, #{name := _, limit := Limit, remaining := Left, retry_after_ms := RetryAfterMs} = Stats}) when
    is_integer(Limit), Limit > 0,
    is_integer(Left), Left >= 0,
    is_integer(RetryAfterMs), RetryAfterMs >= 0,
    not is_map_key(reset_ms, Stats) orelse is_integer(map_get(reset_ms, Stats)) andalso map_get(reset_ms, Stats) >= 0
->
    {rate, Stats};
tagged({cost_exceeds_burst, #{name := _, burst := Burst} = Stats}) when is_integer(Burst), Burst > 0 ->
    {cost, Stats};
tagged(_) ->
    error.

-doc """
Rounds up to whole seconds, at least one, and adds up to a fifth of them, by chance and rounded up too: one of so many
that are told the same time comes in each of the seconds from there to a fifth later. It stays below 2^31.
""".
-spec seconds(RetryAfterMs :: non_neg_integer()) -> pos_integer().
seconds(RetryAfterMs) ->
    Least = min(max(1, (RetryAfterMs + 999) div 1000), ?LONGEST_SECONDS),
    Least + rand:uniform((Least + 4) div 5 + 1) - 1.

-doc "Says in words why.".
-spec words(refusal()) -> binary().
words({queue, Stats}) -> <<"Too many requests: ", (queue_words(maps:get(reason, Stats, full)))/binary>>;
words({rate, _}) -> ~"Too many requests: they come faster than they may";
words({cost, _}) -> ~"The request is larger than all that may come at once".

queue_words(node) -> ~"the node is overloaded";
queue_words(class) -> ~"what is left of the queue is reserved";
queue_words(deadline) -> ~"this one would not be served in time";
queue_words(role) -> ~"there are too many of this kind";
queue_words(bytes) -> ~"those of this kind are too large together";
queue_words(_) -> ~"the queue is full".

-doc """
Returns a limit's name in printable ASCII, 255 characters of it at most, which may stand in a header. All else, and the
percent sign, is percent-encoded in UTF-8: `zähler` is `z%C3%A4hler`. What is no atom and no text is as it is printed.
""".
-spec name(term()) -> binary().
name(Name) when is_atom(Name) -> encoded(atom_to_binary(Name));
name(Name) when is_binary(Name) ->
    Bytes = binary:part(Name, 0, min(byte_size(Name), 4 * ?LONGEST_NAME)),
    encoded(erlmcp_native_json:plain(Bytes));
name(Name) -> encoded(erlmcp_native_log_text:format("~0tp", [Name], ?LONGEST_NAME)).

encoded(Text) ->
    Characters = lists:sublist(unicode:characters_to_list(Text), ?LONGEST_NAME),
    << <<(character(Byte))/binary>> || <<Byte>> <= unicode:characters_to_binary(Characters) >>.

character(Byte) when Byte >= 16#20, Byte < 16#7f, Byte =/= $% -> <<Byte>>;
character(Byte) -> <<$%, (binary:encode_hex(<<Byte>>))/binary>>.

-doc "Returns what a refused client is told besides the words.".
-spec data(refusal()) -> #{binary() => null | integer() | binary()}.
data({queue, #{role := Role, limit := Limit, depth := Depth, retry_after_ms := RetryAfterMs} = Stats}) ->
    #{
        ~"role" => atom_to_binary(Role),
        ~"limit" => case Limit of infinity -> null; _ -> Limit end,
        ~"depth" => Depth,
        %% As of erlmcp's own, which knows neither.
        ~"class" => atom_to_binary(maps:get(class, Stats, critical)),
        ~"reason" => atom_to_binary(maps:get(reason, Stats, full)),
        ~"retryAfterMs" => RetryAfterMs
    };
data({rate, #{name := Name, limit := Limit, remaining := Left, retry_after_ms := RetryAfterMs} = Stats}) ->
    maps:merge(
        #{
            ~"name" => name(Name),
            ~"limit" => Limit,
            ~"remaining" => Left,
            ~"reason" => ~"rate",
            ~"retryAfterMs" => RetryAfterMs
        },
        reset(Stats)
    );
data({cost, #{name := Name, burst := Burst}}) ->
    #{~"name" => name(Name), ~"burst" => Burst, ~"reason" => ~"cost"}.

reset(#{reset_ms := ResetMs}) -> #{~"resetMs" => ResetMs};
reset(#{}) -> #{}.

-doc "Makes a JSON-RPC 2.0 error response.".
-spec json_rpc(Id :: term(), refusal(), Code :: integer()) -> #{binary() => term()}.
json_rpc(Id, Refusal, Code) ->
    Error = #{~"code" => Code, ~"message" => words(Refusal), ~"data" => data(Refusal)},
    #{~"jsonrpc" => ~"2.0", ~"id" => Id, ~"error" => Error}.
