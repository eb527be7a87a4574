-module(erlmcp_native_settings).
-moduledoc "Numbers from the environment.".

-export([number/2]).

-doc "Returns what an environment variable says, or else the default; anything but a number ends the program.".
-spec number(string(), float()) -> float().
number(Name, Default) ->
    case os:getenv(Name) of
        Unset when Unset =:= false; Unset =:= "" ->
            Default;
        Text ->
            case {string:to_float(Text), string:to_integer(Text)} of
                {{Float, ""}, _} -> Float;
                {_, {Integer, ""}} -> float(Integer);
                _ -> io:format(standard_error, "~s is no number: ~s~n", [Name, Text]), halt(2)
            end
    end.
