use std::collections::BTreeMap;

use crate::{
    market::{Money, Quote},
    messages::{Order, Side},
};

/// The working orders of one instrument, by price and then by age.
#[derive(Debug, Default)]
pub(crate) struct Book {
    buys: BTreeMap<Place, Owner>,
    sells: BTreeMap<Place, Owner>,
}

/// The limit, and the number of the order.
type Place = (Money, u64);
/// Trader and id of the order.
type Owner = (String, String);

impl Book {
    /// Adds an order with a limit; another has no place here.
    pub(crate) fn insert(&mut self, order: &Order, trader: &str) {
        if let Some(price) = order.price {
            let owner = (trader.to_owned(), order.id.clone());
            self.side(order.side).insert((price, order.number), owner);
        }
    }

    /// Forgets an order.
    pub(crate) fn remove(&mut self, order: &Order) {
        if let Some(price) = order.price {
            self.side(order.side).remove(&(price, order.number));
        }
    }

    /// Takes out an order that can be carried out at this quote: the best one first.
    pub(crate) fn take_reached(&mut self, quote: &Quote) -> Option<Owner> {
        if let Some(buy) = self.buys.last_entry()
            && buy.key().0 >= quote.ask
        {
            return Some(buy.remove());
        }
        if let Some(sell) = self.sells.first_entry()
            && sell.key().0 <= quote.bid
        {
            return Some(sell.remove());
        }
        None
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.buys.len() + self.sells.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    const fn side(&mut self, side: Side) -> &mut BTreeMap<Place, Owner> {
        match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        }
    }
}
