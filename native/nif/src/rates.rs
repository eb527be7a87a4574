//! Natives of rates. What is defined and taken outlives the process that opens them.
//!
//! A key is a term; `packed` in the place of an answer asks for the same once more with what Erlang has made of it, see
//! `key`.

use erlmcp_core::defining::{Info, MAX_SHARED, TooManyRates};
use erlmcp_core::emptiest::Emptiest;
use erlmcp_core::gcra::{Law, Rate};
use erlmcp_core::rates::{Answer as Outcome, Definition, Overflow, Rates, Refused};
use erlmcp_core::share::{Scope, Share, WHOLE};
use erlmcp_core::sharing::Shared;
use erlmcp_core::together::{All, Ask};
use erlmcp_core::{Address, NotDefined, Seek};
use once_cell::sync::Lazy;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::direct::{Arguments, Word, native};
use crate::host::{now, ticks_ns};
use crate::key::{self, TooLarge};
use crate::ration;
use crate::term::{self, Answer, Fault, Order};

native!("rate_take", 3, words take);
native!("rate_take", 4, words take_packed);

pub(crate) static RATES: Lazy<Rates> = Lazy::new(Rates::new);

pub(crate) const NS_PER_MS: u64 = 1_000_000;
/// So many are taken together at most.
const MOST: usize = 64;

#[inline(always)]
fn with_rates<'a, T: Encoder>(
    env: Env<'a>,
    operation: impl FnOnce(&Rates) -> Answer<T>,
) -> Term<'a> {
    let answer = if RATES.is_open() {
        operation(&RATES).map_err(or_closed)
    } else {
        Err(Fault(atoms::not_started()))
    };
    term::answer(env, answer)
}

/// Closed meanwhile, it had no names any more.
#[cold]
fn or_closed(fault: Fault) -> Fault {
    if RATES.is_open() {
        fault
    } else {
        Fault(atoms::not_started())
    }
}

impl From<NotDefined> for Fault {
    fn from(NotDefined: NotDefined) -> Self {
        Self(atoms::bad_name())
    }
}

impl From<TooManyRates> for Fault {
    fn from(TooManyRates: TooManyRates) -> Self {
        Self(atoms::too_many_rates())
    }
}

fn name(term: Term<'_>) -> Answer<u64> {
    term::atom_word(term).ok_or(Fault(atoms::bad_name()))
}

fn cost(term: Term<'_>) -> Answer<u64> {
    let cost: Option<u64> = term.decode().ok();
    cost.filter(|cost| *cost > 0)
        .ok_or(Fault(atoms::bad_cost()))
}

/// Runs `operation` with a key as it is, or else with what was made of it.
#[inline(always)]
fn with_key<R>(
    rates: &Rates,
    name: u64,
    key: Term<'_>,
    packed: Option<Term<'_>>,
    operation: impl Fn(Seek<'_>) -> R,
) -> Answer<R> {
    let found = key::read(key, |tag, bytes| operation(rates.seek(name, tag, bytes)));
    found.or_else(|TooLarge| {
        let packed = packed.ok_or(Fault(atoms::packed()))?;
        key::read_packed(packed, |tag, bytes| operation(rates.seek(name, tag, bytes)))
            .ok_or(Fault(atoms::bad_key()))
    })
}

fn address(rates: &Rates, name: u64, key: Term<'_>, packed: Option<Term<'_>>) -> Answer<Address> {
    with_key(rates, name, key, packed, |at| at.address())
}

fn unless_none(packed: Term<'_>) -> Option<Term<'_>> {
    Some(packed).filter(|packed| atoms::none() != *packed)
}

/// How much is left, `{error, {rate_limited, Map}}`, `{error, {cost_exceeds_burst, Map}}`, or `packed`.
#[inline(always)]
fn take(given: Arguments<'_, 3>) -> Word<'_> {
    let [of, key, amount] = given.words;
    taken(given.env, of, key, None, amount)
}

#[inline(always)]
fn take_packed(given: Arguments<'_, 4>) -> Word<'_> {
    let [of, key, packed, amount] = given.words;
    taken(given.env, of, key, Some(packed), amount)
}

#[inline(always)]
fn taken<'a>(
    env: Env<'a>,
    of: Word<'a>,
    key: Word<'a>,
    packed: Option<Word<'a>>,
    amount: Word<'a>,
) -> Word<'a> {
    let not = |why: Atom| Word::from(or_closed(Fault(why)).0.to_term(env));
    if !RATES.is_open() {
        return not(atoms::not_started());
    }
    let rates = &*RATES;
    let (named, cost) = match (name(of.term(env)), cost(amount.term(env))) {
        (Ok(named), Ok(cost)) => (named, cost),
        (Err(Fault(why)), _) | (_, Err(Fault(why))) => return not(why),
    };
    let packed = packed.map(|packed| packed.term(env));
    let found = with_key(rates, named, key.term(env), packed, |at| {
        let taken = |remaining: u64| Word::from(remaining.encode(env));
        let otherwise = |answer| match answer {
            Ok(outcome) => Word::from(say(env, of.term(env), key.term(env), outcome)),
            Err(NotDefined) => not(atoms::bad_name()),
        };
        rates.take_of(at, cost, ticks_ns(), taken, otherwise)
    });
    found.unwrap_or_else(|Fault(why)| not(why))
}

#[inline]
fn say<'a>(env: Env<'a>, name: Term<'a>, key: Term<'a>, outcome: Outcome) -> Term<'a> {
    match outcome {
        Outcome::Taken { remaining } => (atoms::ok(), remaining).encode(env),
        Outcome::Refused(refused) => {
            let map = refusal(env, name, key, &refused);
            (atoms::error(), (atoms::rate_limited(), map)).encode(env)
        }
        Outcome::CostExceedsBurst(burst) => {
            let fields = [(atoms::name(), name), (atoms::burst(), burst.encode(env))];
            let map = term::map(env, &fields);
            (atoms::error(), (atoms::cost_exceeds_burst(), map)).encode(env)
        }
    }
}

/// The map of a refusal.
pub(crate) fn refusal<'a>(
    env: Env<'a>,
    name: Term<'a>,
    key: Term<'a>,
    refused: &Refused,
) -> Term<'a> {
    static LIMITED: Order<6> = Order::unknown();
    let ms = |ns: u64| ns.div_ceil(NS_PER_MS).max(1);
    let short = &refused.short;
    let fields = [
        (atoms::name(), name),
        (atoms::key(), key),
        (atoms::limit(), refused.rate.number.encode(env)),
        (atoms::remaining(), short.remaining.encode(env)),
        (atoms::retry_after_ms(), ms(short.retry_ns).encode(env)),
        (atoms::reset_ms(), ms(short.reset_ns).encode(env)),
    ];
    LIMITED.map(env, fields)
}

/// What `rate_take` of 1 would answer.
#[rustler::nif]
fn rate_peek<'a>(env: Env<'a>, of: Term<'a>, key: Term<'a>, packed: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let address = address(rates, name(of)?, key, unless_none(packed))?;
        Ok(say(env, of, key, rates.peek(&address, ticks_ns())?))
    })
}

#[rustler::nif]
fn rate_give_back<'a>(
    env: Env<'a>,
    of: Term<'a>,
    key: Term<'a>,
    packed: Term<'a>,
    amount: Term<'a>,
) -> Term<'a> {
    with_rates(env, |rates| {
        let (named, cost) = (name(of)?, cost(amount)?);
        let address = address(rates, named, key, unless_none(packed))?;
        rates.give_back(&address, cost)?;
        Ok(atoms::ok())
    })
}

#[rustler::nif]
fn rate_reset<'a>(env: Env<'a>, of: Term<'a>, key: Term<'a>, packed: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let address = address(rates, name(of)?, key, unless_none(packed))?;
        rates.reset(&address)?;
        Ok(atoms::ok())
    })
}

/// Of each of `[{Name, Key, Packed, Cost}]`, or of none: `ok`, or what the first that refuses answers. `Packed` is
/// `none` where nothing was made of the key yet.
#[rustler::nif]
fn rate_take_all<'a>(env: Env<'a>, items: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let items = term::short_list(items, MOST).ok_or(Fault(atoms::bad_items()))?;
        let items: Result<Vec<_>, _> = items
            .into_iter()
            .map(|item| item.decode::<(Term<'a>, Term<'a>, Term<'a>, Term<'a>)>())
            .collect();
        let items = items.map_err(|_| Fault(atoms::bad_items()))?;
        // What is wrong comes before what is to be made of keys.
        for (of, _, _, amount) in &items {
            rates.rule_exists(name(*of)?)?;
            cost(*amount)?;
        }
        let asks: Answer<Vec<Ask>> = items
            .iter()
            .map(|(of, key, packed, amount)| {
                let address = address(rates, name(*of)?, *key, unless_none(*packed))?;
                let cost = cost(*amount)?;
                Ok(Ask { address, cost })
            })
            .collect();
        match rates.take_all(&asks?, ticks_ns) {
            All::Taken => Ok(atoms::ok().encode(env)),
            All::NotDefined(_) => Err(Fault(atoms::bad_name())),
            All::Not(place, outcome) => {
                let (of, key, _, _) = items.get(place).ok_or(Fault(atoms::bad_items()))?;
                Ok(say(env, *of, *key, outcome))
            }
        }
    })
}

/// A rate of so many in so many nanoseconds.
fn definition(fields: (u64, u64, u64, u64, Atom, Atom)) -> Answer<Definition> {
    let (number, period_ns, burst, max_keys, overflow, scope) = fields;
    let rate = Rate {
        number,
        period_ns,
        burst,
    };
    Ok(Definition {
        law: Law::new(rate).map_err(|_| Fault(atoms::bad_rate()))?,
        max_keys,
        overflow: if overflow == atoms::refuse() {
            Overflow::Refuse
        } else {
            Overflow::Share
        },
        scope: if scope == atoms::cluster() {
            Scope::Cluster
        } else {
            Scope::Node
        },
    })
}

/// Defines a rate, `{Number, PeriodNs, Burst, MaxKeys, Overflow, Scope}`, or changes it.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_define<'a>(env: Env<'a>, of: Term<'a>, fields: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let named = name(of)?;
        let fields = fields.decode().map_err(|_| Fault(atoms::bad_rate()))?;
        rates.define(named, definition(fields)?, true, ticks_ns)?;
        Ok(atoms::ok())
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn rate_undefine<'a>(env: Env<'a>, of: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        if rates.undefine(name(of)?) {
            Ok(atoms::ok())
        } else {
            Err(Fault(atoms::bad_name()))
        }
    })
}

/// Opens rates once what is configured is defined: `[{Name, Fields}]`. What a hand has defined stays.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_open<'a>(env: Env<'a>, configured: Term<'a>) -> Term<'a> {
    let answer = configure(&RATES, configured);
    RATES.open();
    term::answer(env, answer)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn rate_configure<'a>(env: Env<'a>, configured: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| configure(rates, configured))
}

fn configure(rates: &Rates, configured: Term<'_>) -> Answer<Atom> {
    let rows = term::proper_list(configured).ok_or(Fault(atoms::bad_rate()))?;
    let rows: Answer<Vec<_>> = rows
        .into_iter()
        .map(|row| {
            let (of, fields) = row.decode().map_err(|_| Fault(atoms::bad_rate()))?;
            Ok((name(of)?, definition(fields)?))
        })
        .collect();
    rates.configure(&rows?, ticks_ns)?;
    Ok(atoms::ok())
}

/// Closes rates, and forgets all of them.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_close() -> Atom {
    RATES.close();
    atoms::ok()
}

/// Notes what was counted by now, and forgets keys that have all there is; to be called once a second with 0, and then
/// with what it returns, up to `none`.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_tidy<'a>(env: Env<'a>, from: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let (from, now_ns) = (term::number(from)?, ticks_ns());
        if from == 0 {
            rates.sample(now_ns);
            ration::sample(now_ns);
        }
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(match rates.tidy(from, now_ns) {
            Some(next) => next.encode(env),
            None => atoms::none().encode(env),
        })
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn rate_names<'a>(env: Env<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let names = rates.names().into_iter();
        Ok(names
            .map(|name| term::atom_term(env, name))
            .collect::<Vec<_>>())
    })
}

/// The map `rate_info()`.
#[rustler::nif]
fn rate_info<'a>(env: Env<'a>, of: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let info = rates.info(name(of)?, ticks_ns());
        info.map(|info| said(env, &info))
            .ok_or(Fault(atoms::bad_name()))
    })
}

/// What there is to say of a rate.
pub(crate) fn said<'a>(env: Env<'a>, info: &Info) -> Term<'a> {
    let Rate {
        number,
        period_ns,
        burst,
    } = *info.definition.law.rate();
    let overflow = match info.definition.overflow {
        Overflow::Share => atoms::share(),
        Overflow::Refuse => atoms::refuse(),
    };
    let scope = match info.definition.scope {
        Scope::Node => atoms::node(),
        Scope::Cluster => atoms::cluster(),
    };
    let fields = (
        number,
        period_ns,
        burst,
        info.definition.max_keys,
        overflow,
        scope,
    );
    let at_ms = |ago: Option<u64>| {
        ago.map_or(atoms::undefined().encode(env), |ago| {
            now().system_ms.saturating_sub(ago).encode(env)
        })
    };
    let refusals = &info.refusals;
    let fields = [
        (atoms::fields(), fields.encode(env)),
        (atoms::share(), as_ratio(info.share).encode(env)),
        (atoms::keys(), info.keys.encode(env)),
        (atoms::taken(), info.taken.encode(env)),
        (atoms::taken_per_s(), info.taken_per_s.encode(env)),
        (atoms::refused(), info.refused.encode(env)),
        (atoms::refused_per_s(), refusals.per_s.encode(env)),
        (atoms::refusing_since_ms(), at_ms(refusals.since_ms_ago)),
        (atoms::last_refused_ms(), at_ms(refusals.last_ms_ago)),
    ];
    term::map(env, &fields)
}

fn as_ratio(share: Share) -> f64 {
    share.parts() as f64 / WHOLE as f64
}

/// `[{Name, Asked, Share}]` of the rates that nodes share, in no order: what was asked for, costs added up, granted or
/// not, and this node's share.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_shared<'a>(env: Env<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let rows = rates.shared().into_iter();
        let row = |row: Shared| {
            let name = term::atom_term(env, row.name);
            (name, row.asked, as_ratio(row.share))
        };
        Ok(rows.map(row).collect::<Vec<_>>())
    })
}

/// Sets shares, `[{Name, Parts}]` of 10^9, and that of what is defined from now on. It may have to wait for whoever
/// defines.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_set_shares<'a>(env: Env<'a>, shares: Term<'a>, base: Term<'a>) -> Term<'a> {
    let bad = || Fault(atoms::bad_rate());
    // Before any is defined, too.
    let answer: Answer<Atom> = (|| {
        let rows = term::short_list(shares, MAX_SHARED).ok_or_else(bad)?;
        let row = |row: Term<'a>| {
            let (of, parts): (Term<'a>, u64) = row.decode().map_err(|_| bad())?;
            Ok((name(of)?, Share::new(parts)))
        };
        let rows: Vec<(u64, Share)> = rows.into_iter().map(row).collect::<Answer<_>>()?;
        RATES.set_shares(&rows, Share::new(term::number(base)?), ticks_ns);
        Ok(atoms::ok())
    })();
    term::answer(env, answer)
}

/// `{Empty, [{Key, Remaining, RetryNs, ResetNs}]}`, the emptiest first: how many keys have less than one left, and what
/// those have that most was taken of. It looks at all buckets.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_emptiest<'a>(env: Env<'a>, of: Term<'a>, most: Term<'a>) -> Term<'a> {
    with_rates(env, |rates| {
        let most = usize::try_from(term::number(most)?).unwrap_or(MOST);
        let Emptiest { empty, first } = rates.emptiest(name(of)?, most.min(MOST), ticks_ns())?;
        let rows = first.iter().map(|(address, short)| {
            let key = key::write(env, address.key());
            (key, short.remaining, short.retry_ns, short.reset_ns)
        });
        Ok((empty, rows.collect::<Vec<_>>()))
    })
}
