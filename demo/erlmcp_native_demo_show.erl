-module(erlmcp_native_demo_show).
-moduledoc """
Goes through the timeline: gives the orders of each phase and has faults happen, and meanwhile draws four frames or one
plain line a second, and writes the log.
""".

-export([run/4]).

-define(FRAMES_PER_S, 4).
-define(KEPT_EVENTS, 4).

-doc """
Goes through the timeline, which takes as long as the settings say. Returns what the promises need besides the sample
at rest.
""".
-spec run(World, file:io_device(), Display, #{seconds := pos_integer(), page := string()}) ->
    #{
        freed := [erlmcp_native_demo_fault:freed()],
        survived := [erlmcp_native_demo_fault:survived()],
        hung := [erlmcp_native_demo_fault:hung()],
        drowned := [erlmcp_native_demo_fault:drowned()],
        pressed := [erlmcp_native_demo_pressure:pressed()],
        cancelled := [erlmcp_native_demo_cancel:cancelled()],
        limits := erlmcp_native_demo_overload:limits(),
        surge_per_s := non_neg_integer(),
        owner_mailbox := non_neg_integer(),
        service_mailbox := non_neg_integer()
    }
when
    World :: erlmcp_native_demo_sample:world(), Display :: erlmcp_native_demo_display:display().
run(World, File, Display, #{seconds := Seconds} = Settings) ->
    _ = erlmcp_native_demo_display:mode(Display) =:= plain andalso
        erlmcp_native_demo_display:print(Display, erlmcp_native_demo_frame:columns()),
    First = erlmcp_native_demo_sample:take(World),
    Frames =
        case erlmcp_native_demo_display:mode(Display) of
            terminal -> ?FRAMES_PER_S;
            plain -> 1
        end,
    turn(Settings#{
        world => World,
        file => File,
        display => Display,
        frames_per_s => Frames,
        frame => 1,
        start_us => maps:get(at_us, First),
        steps => erlmcp_native_demo_phases:timeline(Seconds),
        window => [First],
        surge => undefined,
        pending => 0,
        events => [],
        facts => #{
            freed => [], survived => [], hung => [], drowned => [], pressed => [], cancelled => [], limits => #{},
            surge_per_s => 0, owner_mailbox => 0, service_mailbox => 0
        }
    }).

turn(#{steps := [{StepUs, Step} | Steps], frame := Frame, frames_per_s := PerS, start_us := Start} = State) ->
    FrameUs = Frame * 1_000_000 div PerS,
    Next = min(StepUs, FrameUs),
    receive
        {event, Event} ->
            turn(event(Event, State));
        {fault, Kind, Fault} ->
            turn(fault(Kind, Fault, State))
    after max(0, (Start + Next - erlang:monotonic_time(microsecond) + 999) div 1000) ->
        %% A second that ends with its phase is shown as part of it.
        case Step of
            _ when FrameUs =< StepUs -> turn(frame(State#{frame := later(Frame, PerS, Start)}));
            stop -> finish(State);
            _ -> turn(step(Step, State#{steps := Steps}))
        end
    end.

%% What was missed is not made good.
later(Frame, PerS, Start) ->
    max(Frame + 1, (erlang:monotonic_time(microsecond) - Start) * PerS div 1_000_000).

step({phase, Phase}, #{world := #{meter := Meter} = World, display := Display} = State) ->
    Sample = erlmcp_native_demo_sample:take(World),
    ok = erlmcp_queue_limits:set_limit(tool_executor, erlmcp_native_demo_phases:limit(Phase)),
    ok = erlmcp_native_demo_meter:set(Meter, erlmcp_native_demo_phases:orders(Phase)),
    _ = erlmcp_native_demo_display:mode(Display) =:= plain andalso
        erlmcp_native_demo_display:print(Display, erlmcp_native_demo_frame:heading(Phase)),
    surge(Phase, Sample, limits(Sample, State));
step({fault, Kind}, #{world := World, pending := Pending} = State) ->
    Show = self(),
    _ = spawn_link(fun() -> Show ! {fault, Kind, break(Kind, World)} end),
    State#{pending := Pending + 1}.

break(executor, #{crew := Crew}) -> erlmcp_native_demo_fault:kill_executor(erlmcp_native_demo_crew:executors(Crew));
break(limits, _World) -> erlmcp_native_demo_fault:kill_limits();
break(session, #{crew := Crew}) -> erlmcp_native_demo_fault:hang_session(erlmcp_native_demo_crew:sessions(Crew));
break(naive, #{book := Book}) -> erlmcp_native_demo_fault:send_naively(Book);
break(cancel, #{crew := Crew, meter := Meter}) -> erlmcp_native_demo_cancel:cancel_two(Crew, Meter);
break(memory, #{meter := Meter}) -> erlmcp_native_demo_pressure:press(Meter).

%% Those at the end of a phase are what it has come to.
limits(#{phase := Phase, roles := Roles}, #{facts := #{limits := Limits} = Facts} = State) ->
    [Own] = [Own || #{role := tool_executor, own_limits := Own} <- Roles],
    State#{facts := Facts#{limits := Limits#{Phase => Own}}}.

surge(surge, Sample, State) ->
    State#{surge := Sample};
surge(fixed, Sample, #{surge := Since, facts := Facts} = State) ->
    PerS = erlmcp_native_demo_sample:per_s(fun(#{counts := #{offered := N}}) -> N end, Since, Sample),
    State#{facts := Facts#{surge_per_s := PerS}};
surge(_Phase, _Sample, State) ->
    State.

event(Event, #{file := File} = State) ->
    ok = erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:event(Event)),
    case Event of
        %% The fault says it.
        #{role := mailbox} -> State;
        #{level := Level, role := Role} when Level =/= overload, Role =/= node -> State;
        _ -> noted(Event, State)
    end.

fault(Kind, Fault, #{file := File, facts := Facts, pending := Pending, display := Display} = State) ->
    ok = erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:fault(Kind, Fault)),
    Key =
        case Kind of
            executor -> freed;
            limits -> survived;
            session -> hung;
            naive -> drowned;
            memory -> pressed;
            cancel -> cancelled
        end,
    Noted = #{events := [Text | _]} = noted(Fault, State),
    _ = erlmcp_native_demo_display:mode(Display) =:= plain andalso erlmcp_native_demo_display:print(Display, [[Text]]),
    Noted#{facts := Facts#{Key := [Fault | maps:get(Key, Facts)]}, pending := Pending - 1}.

noted(Event, #{start_us := Start, events := Events} = State) ->
    AtS = (erlang:monotonic_time(microsecond) - Start) / 1.0e6,
    State#{events := lists:sublist([erlmcp_native_demo_frame:event(AtS, Event) | Events], ?KEPT_EVENTS)}.

frame(#{world := World, window := Window, start_us := Start, frames_per_s := PerS, frame := Next} = State) ->
    #{file := File, display := Display, facts := Facts} = State,
    #{at_us := At} = New = erlmcp_native_demo_sample:take(World),
    Old = lists:last(Window),
    IsSecond = (Next - 1) rem PerS =:= 0,
    _ = IsSecond andalso erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:second(New, Old)),
    View = #{
        new => New,
        old => Old,
        at_s => (At - Start) div 1_000_000,
        seconds => maps:get(seconds, State),
        page => maps:get(page, State),
        events => maps:get(events, State)
    },
    ok =
        case erlmcp_native_demo_display:mode(Display) of
            terminal -> erlmcp_native_demo_display:frame(Display, erlmcp_native_demo_frame:frame(View));
            plain -> erlmcp_native_demo_display:print(Display, [erlmcp_native_demo_frame:plain(View)])
        end,
    State#{window := [New | lists:sublist(Window, PerS - 1)], facts := mailboxes(New, Facts)}.

mailboxes(#{owner_mailbox := Owner, service_mailbox := Service}, Facts) ->
    #{owner_mailbox := LongestOwner, service_mailbox := LongestService} = Facts,
    Facts#{owner_mailbox := max(Owner, LongestOwner), service_mailbox := max(Service, LongestService)}.

finish(#{pending := 0, facts := Facts}) ->
    Facts;
finish(State) ->
    receive
        {event, Event} -> finish(event(Event, State));
        {fault, Kind, Fault} -> finish(fault(Kind, Fault, State))
    end.
