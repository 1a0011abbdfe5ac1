use std::collections::VecDeque;

use crate::{
    market::Money,
    messages::{DeskMessage, Fill, Order, Position, Reply, Side, Status},
};

/// What the desk knows of one trader.
#[derive(Debug, Default)]
pub(crate) struct Trader {
    /// Counts what happened to the trader.
    pub(crate) version: u64,
    /// When a request came last.
    pub(crate) heard_ms: u64,
    /// The working orders, oldest first.
    pub(crate) orders: Vec<Order>,
    /// The latest [`FILLS_MAX`], newest first.
    pub(crate) fills: VecDeque<Fill>,
    /// At most one of each instrument.
    pub(crate) positions: Vec<Position>,
    /// The latest [`FINISHED_MAX`] orders that work no more, oldest first.
    finished: VecDeque<Order>,
    fills_total: u64,
    addresses: Vec<Address>,
}

/// A temporary queue of a page.
#[derive(Debug)]
struct Address {
    queue: String,
    heard_ms: u64,
}

/// Fills remembered of one trader.
const FILLS_MAX: usize = 100;
/// Finished orders remembered of one trader.
const FINISHED_MAX: usize = 100;
/// Pages of one trader.
const ADDRESSES_MAX: usize = 8;
/// Time after which a silent page is thought to be gone. Pages call every 5 s.
const ADDRESS_IDLE_MS: u64 = 20_000;

impl Trader {
    /// A page of this trader called: it gets all news from now on.
    pub(crate) fn heard_from(&mut self, queue: &str, now_ms: u64) {
        self.heard_ms = now_ms;
        self.addresses.retain(|a| a.queue != queue && a.heard_ms + ADDRESS_IDLE_MS > now_ms);
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.remove(0);
        }
        self.addresses.push(Address { queue: queue.to_owned(), heard_ms: now_ms });
    }

    /// All pages have lost their queues.
    pub(crate) fn lose_addresses(&mut self) {
        self.addresses.clear();
    }

    /// An order of this id, working or not.
    pub(crate) fn find(&self, id: &str) -> Option<&Order> {
        self.orders.iter().chain(&self.finished).find(|order| order.id == id)
    }

    /// Takes out a working order.
    pub(crate) fn take(&mut self, id: &str) -> Option<Order> {
        let at = self.orders.iter().position(|order| order.id == id)?;
        Some(self.orders.remove(at))
    }

    /// Units of an instrument.
    pub(crate) fn quantity(&self, symbol: &str) -> i64 {
        self.positions.iter().find(|p| p.symbol == symbol).map_or(0, |p| p.quantity)
    }

    /// The order has to wait for its price.
    pub(crate) fn work(&mut self, order: Order, out: &mut Vec<DeskMessage>) {
        self.version += 1;
        self.tell(&Reply::Order { version: self.version, order: &order }, order.time, out);
        self.orders.push(order);
    }

    /// The order works no more: carried out, taken back or rejected.
    pub(crate) fn finish(&mut self, order: Order, out: &mut Vec<DeskMessage>) {
        self.version += 1;
        self.tell(&Reply::Order { version: self.version, order: &order }, order.time, out);
        if self.finished.len() == FINISHED_MAX {
            self.finished.pop_front();
        }
        self.finished.push_back(order);
    }

    /// The order is carried out at this price.
    pub(crate) fn fill(
        &mut self,
        order: Order,
        price: Money,
        now_ms: u64,
        out: &mut Vec<DeskMessage>,
    ) {
        let signed = match order.side {
            Side::Buy => order.quantity,
            Side::Sell => -order.quantity,
        };
        let at = self.positions.iter().position(|p| p.symbol == order.symbol);
        let at = at.unwrap_or_else(|| {
            self.positions.push(Position::flat(order.symbol));
            self.positions.len() - 1
        });
        if let Some(position) = self.positions.get_mut(at) {
            position.add(signed, price);
        }
        self.fills_total += 1;
        let fill = Fill {
            id: self.fills_total,
            order: order.id.clone(),
            symbol: order.symbol,
            side: order.side,
            quantity: order.quantity,
            price,
            time: now_ms,
        };
        self.version += 1;
        if let Some(position) = self.positions.get(at) {
            let reply = Reply::Fill { version: self.version, fill: &fill, position };
            self.tell(&reply, now_ms, out);
        }
        self.fills.truncate(FILLS_MAX - 1);
        self.fills.push_front(fill);
        self.finish(Order { status: Status::Filled, time: now_ms, ..order }, out);
    }

    fn tell(&self, reply: &Reply<'_>, now_ms: u64, out: &mut Vec<DeskMessage>) {
        for address in &self.addresses {
            if address.heard_ms + ADDRESS_IDLE_MS > now_ms {
                DeskMessage::push(out, &address.queue, reply);
            }
        }
    }
}

impl Position {
    pub(crate) const fn flat(symbol: &'static str) -> Self {
        Self { symbol, quantity: 0, cost: Money(0), realised: Money(0) }
    }

    /// Takes units in (or, when negative, gives them away) at a price.
    fn add(&mut self, signed: i64, price: Money) {
        let same_way = self.quantity.signum() * signed.signum() >= 0;
        let closed = if same_way { 0 } else { self.quantity.abs().min(signed.abs()) };
        if closed > 0 {
            // What is closed leaves with its share of the cost.
            let share = share(self.cost.0, closed, self.quantity.abs());
            let worth = price.0 * closed * self.quantity.signum();
            self.realised.0 += worth - share;
            self.cost.0 -= share;
        }
        let opened = signed - closed * signed.signum();
        self.cost.0 += price.0 * opened;
        self.quantity += signed;
    }
}

/// `total * part / whole`.
fn share(total: i64, part: i64, whole: i64) -> i64 {
    let share = i128::from(total) * i128::from(part) / i128::from(whole.max(1));
    i64::try_from(share).unwrap_or(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_add_up() {
        let cases: &[(&str, &[(i64, i64)], (i64, i64, i64))] = &[
            ("a purchase costs its price", &[(10, 5)], (10, 50, 0)),
            ("a second one adds its cost", &[(10, 5), (10, 7)], (20, 120, 0)),
            ("a sale realises its part of the profit", &[(10, 5), (-4, 8)], (6, 30, 12)),
            ("a sale below cost realises a loss", &[(10, 5), (-10, 3)], (0, 0, -20)),
            ("selling first is a position too", &[(-10, 5)], (-10, -50, 0)),
            ("buying back cheaper is a profit", &[(-10, 5), (10, 3)], (0, 0, 20)),
            ("selling more than there is turns it round", &[(10, 5), (-15, 6)], (-5, -30, 10)),
            ("and buying back again", &[(-5, 6), (8, 4)], (3, 12, 10)),
        ];
        for (rule, trades, expected) in cases {
            let mut position = Position::flat("A");
            for &(signed, price) in *trades {
                position.add(signed, Money(price));
            }
            let Position { quantity, cost, realised, .. } = position;
            assert_eq!((quantity, cost.0, realised.0), *expected, "{rule}");
        }
    }
}
