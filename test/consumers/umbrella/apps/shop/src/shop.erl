-module(shop).

-export([buy/1]).

buy(Customer) ->
    case till:take(Customer) of
        ok -> bought;
        {error, {capacity_exceeded, _}} -> come_back
    end.
