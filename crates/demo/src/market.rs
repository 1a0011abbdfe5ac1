use std::collections::VecDeque;

use serde::{Serialize, Serializer};

use crate::{
    instruments::{INSTRUMENTS, Instrument},
    random::Random,
};

/// A price or an amount of money, in ten-thousandths; JSON shows it as a decimal number.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Money(pub(crate) i64);

impl Money {
    /// Ten-thousandths in one.
    pub(crate) const UNIT: i64 = 10_000;
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The nearest double to a decimal number is written as that number.
        serializer.serialize_f64(self.0 as f64 / Self::UNIT as f64)
    }
}

/// What an instrument costs at a moment; the body of a message on `/topic/quotes.<SYMBOL>`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quote {
    pub(crate) symbol: &'static str,
    /// When it was made, in Unix milliseconds.
    pub(crate) time: u64,
    /// What a seller gets.
    pub(crate) bid: Money,
    /// What a buyer pays.
    pub(crate) ask: Money,
    /// The price of the last trade.
    pub(crate) last: Money,
    /// The first price of the session.
    pub(crate) open: Money,
    pub(crate) high: Money,
    pub(crate) low: Money,
    /// Units traded in the session.
    pub(crate) volume: u64,
}

/// The trades of [`CANDLE_SECONDS`]: start in Unix seconds, open, high, low, close, volume.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Candle(
    pub(crate) u64,
    pub(crate) Money,
    pub(crate) Money,
    pub(crate) Money,
    pub(crate) Money,
    pub(crate) u64,
);

/// Length of a candle.
pub(crate) const CANDLE_SECONDS: u64 = 5;
/// Candles kept of each instrument: one hour.
pub(crate) const CANDLES_MAX: usize = 720;
/// The time of all candles.
pub(crate) const HOUR_MS: u64 = CANDLE_SECONDS * 1000 * CANDLES_MAX as u64;
/// Instruments whose price is at least this many ticks move whenever they can.
const LIVELY_TICKS: u32 = 20_000;
/// Prices in the small picture of an hour.
const HOUR_POINTS: usize = 40;
/// Time from one step of the market to the next.
pub(crate) const STEP_MS: u64 = 50;

/// All instruments and their prices: a seeded random walk.
#[derive(Debug)]
pub(crate) struct Market {
    random: Random,
    lines: Vec<Line>,
}

/// One instrument on its way.
#[derive(Debug)]
struct Line {
    instrument: &'static Instrument,
    quote: Quote,
    /// The middle between bid and ask, in ticks.
    middle: i64,
    /// Half the distance between them, in ticks, rounded up.
    half_spread: i64,
    /// Where it is heading, from -3 (falling) to 3 (rising).
    trend: i32,
    candles: VecDeque<Candle>,
}

impl Market {
    /// A market which has some trading behind it; with [`HOUR_MS`], all of its candles.
    pub(crate) fn new(seed: u64, now_ms: u64, past_ms: u64) -> Self {
        let start_ms = now_ms.saturating_sub(past_ms);
        let mut random = Random::new(seed);
        let lines = INSTRUMENTS.iter().map(|i| Line::new(i, &mut random, start_ms)).collect();
        let mut market = Self { random, lines };
        let mut past_ms = start_ms;
        while past_ms < now_ms {
            market.step(past_ms, |_| {});
            past_ms += STEP_MS;
        }
        market
    }

    /// Lets [`STEP_MS`] pass; hands out each quote that changed.
    pub(crate) fn step(&mut self, now_ms: u64, mut changed: impl FnMut(&Quote)) {
        for line in &mut self.lines {
            if self.random.below(100) < line.instrument.liveliness {
                line.step(&mut self.random, now_ms);
                changed(&line.quote);
            }
        }
    }

    /// An instrument and its quote.
    pub(crate) fn get(&self, symbol: &str) -> Option<(&'static Instrument, &Quote)> {
        let line = self.line(symbol)?;
        Some((line.instrument, &line.quote))
    }

    /// All instruments, in the order of the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Instrument, &Quote)> {
        self.lines.iter().map(|line| (line.instrument, &line.quote))
    }

    /// The candles of an instrument, oldest first; the last one is still growing.
    pub(crate) fn candles(&self, symbol: &str) -> Option<&VecDeque<Candle>> {
        Some(&self.line(symbol)?.candles)
    }

    /// The course of the last hour in [`HOUR_POINTS`] prices, oldest first.
    pub(crate) fn hour(&self, symbol: &str) -> Vec<Money> {
        let every = CANDLES_MAX / HOUR_POINTS;
        self.candles(symbol).into_iter().flatten().step_by(every).map(|candle| candle.4).collect()
    }

    fn line(&self, symbol: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.instrument.symbol == symbol)
    }
}

impl Line {
    fn new(instrument: &'static Instrument, random: &mut Random, now_ms: u64) -> Self {
        let start = Money(instrument.start);
        let quote = Quote {
            symbol: instrument.symbol,
            time: now_ms,
            bid: start,
            ask: start,
            last: start,
            open: start,
            high: start,
            low: start,
            volume: 0,
        };
        let middle = instrument.start / instrument.tick;
        let trend = Self::trend(random);
        Self { instrument, quote, middle, half_spread: 1, trend, candles: VecDeque::new() }
    }

    fn trend(random: &mut Random) -> i32 {
        random.below(7).cast_signed() - 3
    }

    fn step(&mut self, random: &mut Random, now_ms: u64) {
        if random.once_in(600) {
            self.trend = Self::trend(random);
        }
        if random.once_in(20) {
            self.half_spread = i64::from(1 + random.below(2));
        }
        self.middle += self.stride(random);
        let tick = self.instrument.tick;
        let quote = &mut self.quote;
        quote.time = now_ms;
        quote.bid = Money((self.middle - self.half_spread) * tick);
        quote.ask = Money((self.middle + self.half_spread - 1) * tick);
        // Two in three moves come with a trade, at what the buyer or the seller asked for.
        if !random.once_in(3) {
            quote.last = if random.once_in(2) { quote.bid } else { quote.ask };
            let lots = 1 + random.bits().trailing_zeros();
            let volume = u64::from(lots * (1 + random.below(9))) * 10;
            self.trade(volume, now_ms / 1000);
        }
    }

    /// How many ticks the middle moves: mostly 0 or 1, seldom many, and back home from far away.
    fn stride(&self, random: &mut Random) -> i64 {
        let home = self.instrument.start / self.instrument.tick;
        // Where the price is low, a tick is much of it: such a price moves less often.
        if i64::from(random.below(LIVELY_TICKS)) > home {
            return 0;
        }
        let size = i64::from(random.bits().trailing_zeros().min(5));
        let away = (self.middle - home) * 100 / home;
        // From 4 % away it is more likely to turn back; 60 % is never reached.
        let pull = i32::try_from(away / 4).unwrap_or(0) * 10;
        let rising = (500 + self.trend * 3 - pull).clamp(0, 1000);
        if random.below(1000).cast_signed() < rising { size } else { -size }
    }

    fn trade(&mut self, volume: u64, now_s: u64) {
        let quote = &mut self.quote;
        let price = quote.last;
        quote.high = quote.high.max(price);
        quote.low = quote.low.min(price);
        quote.volume += volume;
        let start_s = now_s - now_s % CANDLE_SECONDS;
        match self.candles.back_mut() {
            Some(Candle(s, _, high, low, close, total)) if *s == start_s => {
                *high = (*high).max(price);
                *low = (*low).min(price);
                *close = price;
                *total += volume;
            }
            _ => {
                if self.candles.len() == CANDLES_MAX {
                    self.candles.pop_front();
                }
                self.candles.push_back(Candle(start_s, price, price, price, price, volume));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_790_000_000_000;

    fn shown(market: &Market) -> String {
        let quotes: Vec<_> = market.iter().map(|(_, quote)| quote).collect();
        serde_json::to_string(&quotes).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_market() {
        let [a, b, c] = [1, 1, 2].map(|seed| shown(&Market::new(seed, START_MS, 10_000)));
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn prices_stay_believable() {
        let mut market = Market::new(3, START_MS, 0);
        let mut count = 0;
        for step in 0..20 * 600 {
            market.step(START_MS + step * STEP_MS, |quote| {
                count += 1;
                let instrument = INSTRUMENTS.iter().find(|i| i.symbol == quote.symbol).unwrap();
                let shown = format!("step {step}: {quote:?}");
                assert!(quote.bid < quote.ask, "{shown}");
                assert!(quote.low <= quote.last && quote.last <= quote.high, "{shown}");
                assert_eq!(quote.bid.0 % instrument.tick, 0, "{shown}");
                assert_eq!(quote.ask.0 % instrument.tick, 0, "{shown}");
                let away = (quote.last.0 - instrument.start).abs() * 100 / instrument.start;
                assert!(away < 60, "{shown}");
            });
        }
        assert!((200..400).contains(&(count / 600)), "{count} quotes in ten minutes");
    }

    #[test]
    fn history_is_an_hour_of_candles_in_order() {
        let market = Market::new(4, START_MS, HOUR_MS);
        for (instrument, _) in market.iter() {
            let candles = market.candles(instrument.symbol).unwrap();
            assert!((CANDLES_MAX - 20..=CANDLES_MAX).contains(&candles.len()), "{}", candles.len());
            assert!(candles.iter().zip(candles.iter().skip(1)).all(|(a, b)| a.0 < b.0));
            assert!(candles.iter().all(|c| c.3 <= c.1 && c.1 <= c.2 && c.3 <= c.4 && c.4 <= c.2));
        }
        assert!(market.candles("NONE").is_none());
    }

    #[test]
    fn money_is_written_as_a_plain_decimal() {
        for (money, text) in
            [(1_814_200, "181.42"), (-5, "-0.0005"), (30_000, "3.0"), (1, "0.0001")]
        {
            assert_eq!(serde_json::to_string(&Money(money)).unwrap(), text);
        }
    }
}
