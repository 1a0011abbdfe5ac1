use std::collections::BTreeMap;

use crate::{
    book::Book,
    instruments::Instrument,
    market::{CANDLE_SECONDS, Market, Money, Quote},
    messages::{DeskMessage, Kind, Listing, Order, OrderRequest, Reply, Request, Side, Status},
    trader::Trader,
};

/// The order desk: takes requests, keeps orders and positions, carries orders out. Pure.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    traders: BTreeMap<String, Trader>,
    books: BTreeMap<&'static str, Book>,
    /// Numbers all orders that ever worked.
    number_next: u64,
}

/// What happens to the desk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// A message came on `/queue/orders`.
    Request { body: &'a [u8], reply_to: Option<&'a str> },
    /// A price changed.
    Quote(&'a Quote),
    /// The gateway has gone, and all temporary queues with it.
    Lost,
}

/// Bytes of a request that is looked at.
const REQUEST_BYTES_MAX: usize = 4096;
/// Bytes of a `reply-to`.
const ADDRESS_BYTES_MAX: usize = 256;
/// Bytes of the id of a trader; no less than 16, as it is a secret.
const TRADER_BYTES_MAX: usize = 64;
/// Bytes of the id of an order.
const ID_BYTES_MAX: usize = 64;
/// Traders remembered. When there are more, the one not heard of for the longest time, and for at
/// least [`IDLE_MS`], is forgotten.
const TRADERS_MAX: usize = 1000;
/// Time after which a silent trader may be forgotten.
const IDLE_MS: u64 = 60_000;
/// Working orders of one trader.
const ORDERS_MAX: usize = 50;
/// Units of one order.
const QUANTITY_MAX: i64 = 100_000;
/// Units a trader may have, or owe, of one instrument.
const POSITION_MAX: i64 = 1_000_000;

impl Desk {
    /// Advances the desk by one event; its messages are pushed to `out`.
    pub(crate) fn apply(
        &mut self,
        event: Event<'_>,
        market: &Market,
        now_ms: u64,
        out: &mut Vec<DeskMessage>,
    ) {
        match event {
            Event::Request { body, reply_to: Some(address) }
                if address.len() <= ADDRESS_BYTES_MAX =>
            {
                self.request(body, address, market, now_ms, out);
            }
            // No page would hear the reply.
            Event::Request { .. } => {}
            Event::Quote(quote) => self.quote(quote, now_ms, out),
            Event::Lost => self.traders.values_mut().for_each(Trader::lose_addresses),
        }
    }

    fn request(
        &mut self,
        body: &[u8],
        address: &str,
        market: &Market,
        now_ms: u64,
        out: &mut Vec<DeskMessage>,
    ) {
        let mut refuse =
            |reason| DeskMessage::push(out, address, &Reply::Error { reason, id: None });
        if body.len() > REQUEST_BYTES_MAX {
            return refuse("the request is too long");
        }
        let Ok(request) = serde_json::from_slice::<Request>(body) else {
            return refuse("the request is not understood");
        };
        if !is_id(request.trader(), 16..=TRADER_BYTES_MAX) {
            return refuse("a trader's id is 16 to 64 letters, digits or hyphens");
        }
        let Some(trader) = self.welcome(request.trader(), now_ms) else {
            return refuse("the desk is full, come back later");
        };
        trader.heard_from(address, now_ms);
        match request {
            Request::Hello { .. } => {
                DeskMessage::push(out, address, &state(trader, market, now_ms));
            }
            Request::Alive { version, sent, .. } if version == trader.version => {
                DeskMessage::push(out, address, &Reply::Alive { time: now_ms, version, sent });
            }
            Request::Alive { .. } => {
                DeskMessage::push(out, address, &state(trader, market, now_ms));
            }
            Request::History { symbol, .. } => match market.candles(&symbol) {
                Some(candles) => {
                    let (symbol, seconds) = (symbol.as_str(), CANDLE_SECONDS);
                    DeskMessage::push(out, address, &Reply::History { symbol, seconds, candles });
                }
                None => refuse("there is no such instrument"),
            },
            Request::Cancel { trader, id } => self.cancel(&trader, &id, address, now_ms, out),
            Request::Order(request) => self.order(&request, address, market, now_ms, out),
        }
    }

    /// The trader of this name, who may be new; `None` when there are too many.
    fn welcome(&mut self, name: &str, now_ms: u64) -> Option<&mut Trader> {
        if !self.traders.contains_key(name) && self.traders.len() >= TRADERS_MAX {
            let (silent, trader) = self.traders.iter().min_by_key(|(_, t)| t.heard_ms)?;
            if trader.heard_ms + IDLE_MS > now_ms {
                return None;
            }
            let silent = silent.clone();
            for order in self.traders.remove(&silent).into_iter().flat_map(|t| t.orders) {
                self.books.entry(order.symbol).or_default().remove(&order);
            }
        }
        Some(self.traders.entry(name.to_owned()).or_default())
    }

    fn order(
        &mut self,
        request: &OrderRequest,
        address: &str,
        market: &Market,
        now_ms: u64,
        out: &mut Vec<DeskMessage>,
    ) {
        let Some(trader) = self.traders.get_mut(&request.trader) else { return };
        let mut refuse = |reason, id| DeskMessage::push(out, address, &Reply::Error { reason, id });
        let id = request.id.as_str();
        if !is_id(id, 1..=ID_BYTES_MAX) {
            return refuse("an order's id is 1 to 64 letters, digits or hyphens", None);
        }
        if let Some(order) = trader.find(id) {
            let reply = Reply::Order { version: trader.version, order };
            return DeskMessage::push(out, address, &reply);
        }
        let Some((instrument, quote)) = market.get(&request.symbol) else {
            return refuse("there is no such instrument", Some(id));
        };
        let order = Order {
            id: request.id.clone(),
            symbol: instrument.symbol,
            side: request.side,
            kind: request.kind,
            quantity: 0,
            price: None,
            status: Status::Working,
            reason: None,
            time: now_ms,
            number: self.number_next,
        };
        let order = match check(order, request, trader, quote, instrument.tick) {
            Ok(order) => order,
            Err((order, reason)) => {
                return trader.finish(
                    Order { status: Status::Rejected, reason: Some(reason), ..order },
                    out,
                );
            }
        };
        self.number_next += 1;
        let here = match order.side {
            Side::Buy => quote.ask,
            Side::Sell => quote.bid,
        };
        let fits = order.price.is_none_or(|price| match order.side {
            Side::Buy => here <= price,
            Side::Sell => here >= price,
        });
        if fits {
            trader.fill(order, here, now_ms, out);
        } else {
            self.books.entry(order.symbol).or_default().insert(&order, &request.trader);
            trader.work(order, out);
        }
    }

    fn cancel(
        &mut self,
        name: &str,
        id: &str,
        address: &str,
        now_ms: u64,
        out: &mut Vec<DeskMessage>,
    ) {
        let Some(trader) = self.traders.get_mut(name) else { return };
        match trader.take(id) {
            Some(order) => {
                self.books.entry(order.symbol).or_default().remove(&order);
                trader.finish(Order { status: Status::Cancelled, time: now_ms, ..order }, out);
            }
            None => {
                let reply = Reply::Error { reason: "there is no such working order", id: None };
                DeskMessage::push(out, address, &reply);
            }
        }
    }

    /// Carries out the working orders that the new price reaches.
    fn quote(&mut self, quote: &Quote, now_ms: u64, out: &mut Vec<DeskMessage>) {
        let Some(book) = self.books.get_mut(quote.symbol) else { return };
        while let Some((name, id)) = book.take_reached(quote) {
            let Some(trader) = self.traders.get_mut(&name) else { continue };
            let Some(order) = trader.take(&id) else { continue };
            let price = order.price.unwrap_or(quote.last);
            trader.fill(order, price, now_ms, out);
        }
    }
}

fn state<'a>(trader: &'a Trader, market: &Market, now_ms: u64) -> Reply<'a> {
    let listing = |(instrument, quote): (&'static Instrument, &Quote)| Listing {
        symbol: instrument.symbol,
        name: instrument.name,
        sector: instrument.sector,
        decimals: instrument.decimals(),
        tick: Money(instrument.tick),
        quote: *quote,
        hour: market.hour(instrument.symbol),
    };
    Reply::State {
        time: now_ms,
        version: trader.version,
        instruments: market.iter().map(listing).collect(),
        orders: &trader.orders,
        fills: &trader.fills,
        positions: &trader.positions,
    }
}

/// Completes an order whose quantity and price are sound; else returns why not.
fn check(
    order: Order,
    request: &OrderRequest,
    trader: &Trader,
    quote: &Quote,
    tick: i64,
) -> Result<Order, (Order, &'static str)> {
    let quantity = match whole(request.quantity) {
        Some(quantity) if (1..=QUANTITY_MAX).contains(&quantity) => quantity,
        _ => return Err((order, "the quantity must be a whole number from 1 to 100,000")),
    };
    let order = Order { quantity, ..order };
    let signed = match order.side {
        Side::Buy => quantity,
        Side::Sell => -quantity,
    };
    if (trader.quantity(order.symbol) + signed).abs() > POSITION_MAX {
        return Err((order, "a position may not go beyond 1,000,000"));
    }
    let price = match (order.kind, request.price) {
        (Kind::Market, _) => return Ok(order),
        (Kind::Limit, Some(price)) => price,
        (Kind::Limit, None) => return Err((order, "a limit order needs a price")),
    };
    let Some(price) = whole((price * Money::UNIT as f64).round()).map(Money) else {
        return Err((order, "the price is out of range"));
    };
    let order = Order { price: Some(price), ..order };
    if price.0 % tick != 0 {
        return Err((order, "the price is between two ticks"));
    }
    if !(quote.last.0 / 10..=quote.last.0 * 10).contains(&price.0) {
        return Err((order, "the price is too far from the market"));
    }
    if trader.orders.len() >= ORDERS_MAX {
        return Err((order, "you have too many working orders"));
    }
    Ok(order)
}

/// A whole number of moderate size.
fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and less than 2^53")]
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn is_id(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{instruments::INSTRUMENTS, market::STEP_MS, random::Random};

    const START_MS: u64 = 1_790_000_000_000;
    const ANN: &str = "ann-0123456789abcdef";

    /// A desk, its market, and what was said so far.
    struct Room {
        desk: Desk,
        market: Market,
        now_ms: u64,
    }

    impl Room {
        fn new() -> Self {
            Self {
                desk: Desk::default(),
                market: Market::new(1, START_MS, 60_000),
                now_ms: START_MS,
            }
        }

        /// Each reply with the queue it went to.
        fn say(&mut self, address: &str, body: &[u8]) -> Vec<(String, Value)> {
            let mut out = Vec::new();
            let event = Event::Request { body, reply_to: Some(address) };
            self.desk.apply(event, &self.market, self.now_ms, &mut out);
            out.into_iter().map(|l| (l.to, serde_json::from_slice(&l.body).unwrap())).collect()
        }

        fn ask(&mut self, request: &Value) -> Vec<Value> {
            let replies = self.say("/temp-queue/a", request.to_string().as_bytes());
            replies.into_iter().map(|(_, reply)| reply).collect()
        }

        fn order(&mut self, id: &str, side: &str, quantity: f64, price: Option<f64>) -> Vec<Value> {
            let kind = if price.is_some() { "limit" } else { "market" };
            self.ask(&json!({
                "type": "order", "trader": ANN, "id": id, "symbol": "ARCL", "side": side,
                "quantity": quantity, "kind": kind, "price": price,
            }))
        }

        fn quote(&self) -> (f64, f64) {
            let quote = self.market.get("ARCL").unwrap().1;
            let shown = serde_json::to_value(quote).unwrap();
            (shown["bid"].as_f64().unwrap(), shown["ask"].as_f64().unwrap())
        }

        /// Moves the market by a step; returns the desk's messages.
        fn step(&mut self) -> Vec<Value> {
            self.now_ms += STEP_MS;
            let mut changed = Vec::new();
            self.market.step(self.now_ms, |quote| changed.push(*quote));
            changed.iter().flat_map(|quote| self.see(quote)).collect()
        }

        /// Feeds a quote to the desk; returns its messages.
        fn see(&mut self, quote: &Quote) -> Vec<Value> {
            let mut out = Vec::new();
            self.desk.apply(Event::Quote(quote), &self.market, self.now_ms, &mut out);
            out.iter().map(|l| serde_json::from_slice(&l.body).unwrap()).collect()
        }
    }

    #[test]
    fn a_market_order_is_filled_at_once_at_the_price_of_the_other_side() {
        let mut room = Room::new();
        let (bid, ask) = room.quote();
        let replies = room.order("o1", "buy", 100.0, None);
        assert_eq!(replies[0]["fill"]["price"], ask);
        assert_eq!(replies[0]["position"]["quantity"], 100);
        assert_eq!(replies[1]["order"]["status"], "filled");
        let replies = room.order("o2", "sell", 40.0, None);
        assert_eq!(replies[0]["fill"]["price"], bid);
        assert_eq!(replies[0]["position"]["quantity"], 60);
    }

    #[test]
    fn a_limit_order_waits_for_its_price() {
        let mut room = Room::new();
        let quote = *room.market.get("ARCL").unwrap().1;
        let moved = |ticks: i64| Quote {
            bid: Money(quote.bid.0 + ticks * 100),
            ask: Money(quote.ask.0 + ticks * 100),
            ..quote
        };
        let price = |money: Money| Some(money.0 as f64 / Money::UNIT as f64);
        let below = price(moved(-10).ask);
        let replies = room.order("o1", "buy", 10.0, below);
        assert_eq!(replies[0]["order"]["status"], "working");
        let above = price(moved(20).bid);
        room.order("o2", "sell", 10.0, above);
        assert_eq!(room.see(&moved(-9)), [] as [Value; 0]);
        assert_eq!(room.see(&moved(19)), [] as [Value; 0]);
        let replies = room.see(&moved(-12));
        assert_eq!(replies[0]["fill"]["price"].as_f64(), below, "the limit, as it was first");
        assert_eq!(replies[1]["order"]["status"], "filled");
        assert_eq!(room.see(&moved(20))[0]["fill"]["price"].as_f64(), above);
        let state = room.ask(&json!({"type": "hello", "trader": ANN}));
        assert_eq!(state[0]["orders"], json!([]));
        assert_eq!(state[0]["fills"].as_array().unwrap().len(), 2);
        assert!(room.desk.books["ARCL"].is_empty());
    }

    #[test]
    fn a_limit_order_that_fits_is_filled_at_the_better_price() {
        let mut room = Room::new();
        let (_, ask) = room.quote();
        let replies = room.order("o1", "buy", 10.0, Some(((ask + 1.0) * 100.0).round() / 100.0));
        assert_eq!(replies[0]["fill"]["price"], ask);
    }

    #[test]
    fn a_cancelled_order_is_gone_and_a_repeated_one_changes_nothing() {
        let mut room = Room::new();
        let (bid, _) = room.quote();
        let limit = Some((bid * 0.8 * 100.0).round() / 100.0);
        room.order("o1", "buy", 10.0, limit);
        assert_eq!(room.order("o1", "buy", 10.0, limit)[0]["order"]["status"], "working");
        let cancel = json!({"type": "cancel", "trader": ANN, "id": "o1"});
        assert_eq!(room.ask(&cancel)[0]["order"]["status"], "cancelled");
        assert_eq!(room.ask(&cancel)[0]["reason"], "there is no such working order");
        assert_eq!(room.order("o1", "buy", 10.0, limit)[0]["order"]["status"], "cancelled");
        assert!(room.desk.books["ARCL"].is_empty());
    }

    #[test]
    fn only_the_pages_of_a_trader_hear_the_news() {
        let mut room = Room::new();
        let hello = json!({"type": "hello", "trader": ANN}).to_string();
        let other = json!({"type": "hello", "trader": "bob-0123456789abcdef"}).to_string();
        room.say("/temp-queue/b", hello.as_bytes());
        room.say("/temp-queue/c", other.as_bytes());
        let order = json!({
            "type": "order", "trader": ANN, "id": "1", "symbol": "ARCL", "side": "buy",
            "quantity": 1, "kind": "market",
        });
        let replies = room.say("/temp-queue/a", order.to_string().as_bytes());
        let queues: Vec<_> = replies.iter().map(|(to, _)| &**to).collect();
        assert_eq!(queues, ["/temp-queue/b", "/temp-queue/a", "/temp-queue/b", "/temp-queue/a"]);
    }

    #[test]
    fn a_page_that_missed_something_gets_the_state() {
        let mut room = Room::new();
        let alive =
            |version| json!({"type": "alive", "trader": ANN, "version": version, "sent": 7});
        assert_eq!(room.ask(&alive(0))[0]["sent"], 7.0);
        room.desk.apply(Event::Lost, &room.market, room.now_ms, &mut Vec::new());
        room.order("o1", "buy", 1.0, None);
        assert_eq!(room.ask(&alive(0))[0]["type"], "state");
        assert_eq!(room.ask(&alive(2))[0]["type"], "alive");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let order = |change: Value| {
            let mut order = json!({
                "type": "order", "trader": ANN, "id": "1", "symbol": "ARCL", "side": "buy",
                "quantity": 1, "kind": "limit", "price": 180,
            });
            let (Value::Object(fields), Value::Object(changed)) = (&mut order, change) else {
                unreachable!()
            };
            fields.extend(changed);
            order.to_string()
        };
        let cases: &[(&str, String)] = &[
            ("the request is not understood", String::new()),
            ("the request is not understood", "{".into()),
            ("the request is not understood", json!({"type": "steal", "trader": ANN}).to_string()),
            ("the request is not understood", json!({"type": "hello"}).to_string()),
            ("the request is not understood", order(json!({"side": "steal"}))),
            ("the request is not understood", order(json!({"quantity": "1"}))),
            ("the request is not understood", order(json!({"price": [1]}))),
            ("the request is too long", " ".repeat(REQUEST_BYTES_MAX + 1)),
            (
                "a trader's id is 16 to 64 letters, digits or hyphens",
                json!({"type": "hello", "trader": "ann"}).to_string(),
            ),
            (
                "a trader's id is 16 to 64 letters, digits or hyphens",
                json!({"type": "hello", "trader": "é".repeat(20)}).to_string(),
            ),
            ("there is no such instrument", order(json!({"symbol": "NONE"}))),
            (
                "there is no such instrument",
                json!({"type": "history", "trader": ANN, "symbol": ""}).to_string(),
            ),
            ("an order's id is 1 to 64 letters, digits or hyphens", order(json!({"id": ""}))),
            (
                "the quantity must be a whole number from 1 to 100,000",
                order(json!({"quantity": 0})),
            ),
            (
                "the quantity must be a whole number from 1 to 100,000",
                order(json!({"quantity": -5})),
            ),
            (
                "the quantity must be a whole number from 1 to 100,000",
                order(json!({"quantity": 1.5})),
            ),
            (
                "the quantity must be a whole number from 1 to 100,000",
                order(json!({"quantity": 1e300})),
            ),
            ("a limit order needs a price", order(json!({"price": null}))),
            ("the price is out of range", order(json!({"price": 1e300}))),
            ("the price is out of range", order(json!({"price": -1e300}))),
            ("the price is between two ticks", order(json!({"price": 180.005}))),
            ("the price is too far from the market", order(json!({"price": 0}))),
            ("the price is too far from the market", order(json!({"price": -180}))),
            ("the price is too far from the market", order(json!({"price": 10_000}))),
            (
                "there is no such working order",
                json!({"type": "cancel", "trader": ANN, "id": "none"}).to_string(),
            ),
        ];
        for (reason, request) in cases {
            let (_, reply) = Room::new().say("/temp-queue/a", request.as_bytes()).remove(0);
            let said = reply.get("reason").unwrap_or_else(|| &reply["order"]["reason"]);
            assert_eq!(said, reason, "{request}");
        }
    }

    #[test]
    fn every_limit_holds() {
        let mut room = Room::new();
        let (bid, _) = room.quote();
        let limit = Some((bid * 0.8).round());
        for n in 0..ORDERS_MAX {
            assert_eq!(
                room.order(&n.to_string(), "buy", 1.0, limit)[0]["order"]["status"],
                "working"
            );
        }
        let reason = &room.order("x", "buy", 1.0, limit)[0]["order"]["reason"];
        assert_eq!(reason, "you have too many working orders");
        for n in 0..10 {
            room.order(&format!("m{n}"), "sell", 100_000.0, None);
        }
        let reason = &room.order("y", "sell", 1.0, None)[0]["order"]["reason"];
        assert_eq!(reason, "a position may not go beyond 1,000,000");

        for n in 1..TRADERS_MAX {
            let trader = format!("trader-{n:016}");
            assert_eq!(room.ask(&json!({"type": "hello", "trader": trader}))[0]["type"], "state");
        }
        let late = json!({"type": "hello", "trader": "late-0123456789abcdef"});
        assert_eq!(room.ask(&late)[0]["reason"], "the desk is full, come back later");
        room.now_ms += IDLE_MS;
        assert_eq!(room.ask(&late)[0]["type"], "state");
        assert_eq!(room.desk.traders.len(), TRADERS_MAX);
        assert!(room.desk.books["ARCL"].is_empty(), "the orders of who was forgotten are too");
    }

    #[test]
    fn no_storm_confuses_the_desk() {
        for seed in 0..8 {
            storm(seed);
        }
    }

    fn storm(seed: u64) {
        let mut random = Random::new(seed);
        let mut room = Room::new();
        let mut told = BTreeMap::<_, i64>::new();
        for _ in 0..1_000 {
            let replies = match random.below(10) {
                0 => room.step(),
                1 => {
                    let mut out = Vec::new();
                    room.desk.apply(Event::Lost, &room.market, room.now_ms, &mut out);
                    assert!(out.is_empty(), "seed {seed}: a message without a page");
                    room.ask(&json!({"type": "hello", "trader": ANN}))
                }
                _ => {
                    let request = request(&mut random, &room.market);
                    room.ask(&request)
                }
            };
            for reply in replies.iter().filter(|reply| reply["type"] == "fill") {
                let fill = &reply["fill"];
                let sign = if fill["side"] == "buy" { 1 } else { -1 };
                let symbol = fill["symbol"].as_str().unwrap().to_owned();
                *told.entry(symbol).or_default() += fill["quantity"].as_i64().unwrap() * sign;
            }
        }
        let ann = &room.desk.traders[ANN];
        for position in &ann.positions {
            let shown = format!("seed {seed}: {position:?} is the sum of the fills");
            assert_eq!(told.get(position.symbol), Some(&position.quantity), "{shown}");
        }
        let waiting: usize = room.desk.books.values().map(Book::len).sum();
        assert_eq!(waiting, ann.orders.len(), "seed {seed}: each working order is in a book");
        assert!(ann.orders.len() <= ORDERS_MAX, "seed {seed}");
    }

    fn request(random: &mut Random, market: &Market) -> Value {
        let pick = |random: &mut Random, count: usize| {
            random.below(u32::try_from(count).unwrap()) as usize
        };
        let trader = if random.once_in(20) { "short" } else { ANN };
        let id = random.below(200).to_string();
        let symbol = INSTRUMENTS[pick(random, 5)].symbol;
        let last = market.get(symbol).unwrap().1.last.0;
        match random.below(40) {
            0 => json!({"type": "hello", "trader": trader}),
            1 => json!({"type": "alive", "trader": trader, "version": random.below(50), "sent": 1}),
            2 => json!({"type": "cancel", "trader": trader, "id": id}),
            3 => json!({"type": "history", "trader": trader, "symbol": symbol}),
            _ => json!({
                "type": "order", "trader": trader, "id": id, "symbol": symbol,
                "side": if random.once_in(2) { "buy" } else { "sell" },
                "quantity": random.below(110_000),
                "kind": if random.once_in(2) { "limit" } else { "market" },
                "price": (last / 100 + i64::from(random.below(40)) - 20) as f64 / 100.0,
            }),
        }
    }
}
