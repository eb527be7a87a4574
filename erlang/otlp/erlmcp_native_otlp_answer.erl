-module(erlmcp_native_otlp_answer).
-moduledoc """
What the outcome of a push means, as OTLP has it, and when to try again.

- 200 to 299: it was taken. Some of its points may have been rejected, which the body says.
- 429, 502, 503 and 504, and no answer that could be read: it is to be pushed again later. `Retry-After` is heeded,
  up to five minutes.
- All else, a redirect too: this snapshot will not be taken, ever.

The n-th try is made 1 to 1.5 times 2^(n - 1) seconds after the one before failed, at most 40 to 60 seconds, by
chance, so that many nodes do not come back all at once.
""".

-export([verdict/2, delay_ms/3, quoted/1]).

-export_type([verdict/0]).

-doc """
A verdict says what was rejected of what was taken, when to try again at the earliest in milliseconds, or why not to.
""".
-type verdict() ::
    taken
    | {taken_partly, Rejected :: non_neg_integer(), Message :: binary()}
    | {retry, AskedMs :: 0..300000, Problem :: binary()}
    | {give_up, Problem :: binary()}.

-define(MAX_ASKED_MS, 300000).
-define(LONGEST_MS, 40000).
-define(MAX_TEXT, 200).
-define(MAX_MESSAGE, 150).

-doc "Says what an outcome means; `NowS` is the system time in seconds, for a `Retry-After` that is a date.".
-spec verdict(erlmcp_native_otlp_request:outcome(), NowS :: integer()) -> verdict().
verdict({answered, Status, #{body := Body}}, _) when Status < 300 ->
    taken(decoded(Body));
verdict({answered, Status, #{body := Body} = Answer}, NowS) ->
    Problem = problem(Status, decoded(Body)),
    case lists:member(Status, [429, 502, 503, 504]) of
        true -> {retry, asked_ms(maps:get(retry_after, Answer, <<>>), NowS), Problem};
        false -> {give_up, Problem}
    end;
verdict({failed, Stage, Reason}, _) ->
    {retry, 0, text("~ts: ~0tp", [stage(Stage), Reason])}.

-doc "Returns how many milliseconds to wait after so many failures in a row; `Chance` is from 0.0 to 1.0.".
-spec delay_ms(Failures :: pos_integer(), AskedMs :: non_neg_integer(), Chance :: float()) -> pos_integer().
delay_ms(Failures, AskedMs, Chance) ->
    %% Before the numbers get large.
    Ms = min(?LONGEST_MS, 1000 bsl min(Failures - 1, 10)),
    max(AskedMs, round(Ms * (1 + Chance / 2))).

taken(#{~"partialSuccess" := #{} = Partial}) ->
    case {rejected(Partial), message(~"errorMessage", Partial)} of
        {0, <<>>} -> taken;
        {Rejected, Message} -> {taken_partly, Rejected, Message}
    end;
taken(_) ->
    taken.

rejected(#{~"rejectedDataPoints" := N}) when is_integer(N), N > 0 ->
    N;
rejected(#{~"rejectedDataPoints" := Text}) when is_binary(Text), byte_size(Text) < 20 ->
    case string:to_integer(Text) of
        {N, <<>>} when is_integer(N), N > 0 -> N;
        _ -> 0
    end;
rejected(_) ->
    0.

problem(Status, Answer) ->
    Redirect = case Status < 400 of true -> ", and redirects are not followed"; false -> "" end,
    case message(~"message", Answer) of
        <<>> -> text("status ~b~ts", [Status, Redirect]);
        Message -> text("status ~b~ts: ~ts", [Status, Redirect, quoted(Message)])
    end.

message(Key, Answer) ->
    case Answer of
        #{Key := Message} when is_binary(Message) -> Message;
        _ -> <<>>
    end.

stage(connect) -> "no connection";
stage(tls) -> "no TLS connection";
stage(send) -> "the request could not be sent";
stage(answer) -> "no answer".

-doc """
Returns a message as it may be logged, in quotes, its first 150 characters in whatever script they are. What would
change what stands around it is escaped, such as ends of lines, other controls and marks of direction.
""".
-spec quoted(unicode:unicode_binary()) -> unicode:unicode_binary().
quoted(Message) ->
    Chars = unicode:characters_to_list(Message),
    Start = lists:sublist(Chars, ?MAX_MESSAGE),
    More = case Start of Chars -> []; _ -> "..." end,
    unicode:characters_to_binary([$", [escaped(Char) || Char <- Start], More, $"]).

escaped($\n) -> "\\n";
escaped($\r) -> "\\r";
escaped($\t) -> "\\t";
escaped(Char) when Char =:= $"; Char =:= $\\ -> [$\\, Char];
escaped(Char) when Char < $\s; Char >= 16#7f, Char < 16#a0 -> hex(Char);
escaped(Char) when Char >= 16#200b, Char =< 16#200f; Char >= 16#2028, Char =< 16#202e -> hex(Char);
escaped(Char) when Char >= 16#2060, Char =< 16#206f; Char =:= 16#feff; Char >= 16#e0000 -> hex(Char);
escaped(Char) -> Char.

hex(Char) ->
    io_lib:format("\\x{~.16b}", [Char]).

%% Whoever answers decides what stands here.
text(Format, Arguments) ->
    %% The limit is not kept to the character.
    Text = io_lib:format(Format, Arguments, [{chars_limit, ?MAX_TEXT}]),
    %% As it counts, a letter with any number of marks is one.
    unicode:characters_to_binary(lists:sublist(unicode:characters_to_list(Text), ?MAX_TEXT)).

%% Numbers of any length would take their time.
decoded(Body) ->
    Decoders = #{
        integer => fun(Digits) -> case byte_size(Digits) < 20 of true -> binary_to_integer(Digits); false -> 0 end end,
        float => fun(_) -> 0.0 end
    },
    try json:decode(Body, ok, Decoders) of
        {Answer, ok, _} when is_map(Answer) -> Answer;
        _ -> #{}
    catch
        error:_ -> #{}
    end.

asked_ms(RetryAfter, NowS) ->
    Seconds =
        case string:to_integer(RetryAfter) of
            {N, <<>>} when is_integer(N) -> N;
            _ -> date(RetryAfter, NowS) - NowS
        end,
    max(0, min(?MAX_ASKED_MS, Seconds * 1000)).

%% Such as Sun, 06 Nov 1994 08:49:37 GMT; the other two formats are of another age.
date(Text, Otherwise) ->
    Format = "~3c, ~2d ~3c ~4d ~2d:~2d:~2d GMT",
    maybe
        {ok, [_, Day, Month, Year, Hour, Minute, Second], []} ?= io_lib:fread(Format, binary_to_list(Text)),
        Date = {Year, month(Month), Day},
        true ?= calendar:valid_date(Date),
        Days = calendar:date_to_gregorian_days(Date) - calendar:date_to_gregorian_days(1970, 1, 1),
        ((Days * 24 + Hour) * 60 + Minute) * 60 + Second
    else
        _ -> Otherwise
    end.

month(Name) ->
    case string:str("JanFebMarAprMayJunJulAugSepOctNovDec", Name) of
        Place when Place rem 3 =:= 1 -> Place div 3 + 1;
        _ -> 0
    end.
