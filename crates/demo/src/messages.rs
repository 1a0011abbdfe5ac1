//! The messages between pages and the desk: JSON in STOMP bodies.
//!
//! A page sends a [`Request`] to `/queue/orders`, with a `reply-to` that names a temporary queue of
//! its own; [`Reply`]s come there. Quotes go by themselves on `/topic/quotes.<SYMBOL>`. The same
//! words stand in `web/src/trader/messages.ts`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::market::{Candle, Money, Quote};

/// A request of a page. `trader` is a secret that the page made up, and identifies the trader.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Who am I, what is there? The reply is [`Reply::State`].
    Hello { trader: String },
    /// I am still here, and know your news up to `version`. The reply is [`Reply::Alive`], or
    /// [`Reply::State`] when there is news.
    Alive {
        trader: String,
        version: u64,
        /// Comes back unchanged, so that the page can time the round trip.
        sent: f64,
    },
    /// Buy or sell. Asking again with the same `id` changes nothing.
    Order(OrderRequest),
    /// Take a working order back.
    Cancel { trader: String, id: String },
    /// The candles of an instrument. The reply is [`Reply::History`], to this page only.
    History { trader: String, symbol: String },
}

impl Request {
    pub(crate) fn trader(&self) -> &str {
        match self {
            Self::Hello { trader }
            | Self::Alive { trader, .. }
            | Self::Order(OrderRequest { trader, .. })
            | Self::Cancel { trader, .. }
            | Self::History { trader, .. } => trader,
        }
    }
}

/// The content of an order ticket.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OrderRequest {
    pub(crate) trader: String,
    /// Chosen by the page, unique for the trader.
    pub(crate) id: String,
    pub(crate) symbol: String,
    pub(crate) side: Side,
    pub(crate) quantity: f64,
    pub(crate) kind: Kind,
    /// Of a limit order.
    #[serde(default)]
    pub(crate) price: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Buy,
    Sell,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// At the price that there is.
    Market,
    /// At this price or a better one, when there is one.
    Limit,
}

/// A message of the desk. `version` counts the events of a trader; a page that misses a number asks
/// again with [`Request::Alive`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Reply<'a> {
    State {
        time: u64,
        version: u64,
        instruments: Vec<Listing>,
        /// The working ones, oldest first.
        orders: &'a [Order],
        /// Newest first.
        fills: &'a VecDeque<Fill>,
        positions: &'a [Position],
    },
    Order {
        version: u64,
        order: &'a Order,
    },
    Fill {
        version: u64,
        fill: &'a Fill,
        position: &'a Position,
    },
    Alive {
        time: u64,
        version: u64,
        sent: f64,
    },
    History {
        symbol: &'a str,
        /// Length of a candle.
        seconds: u64,
        candles: &'a VecDeque<Candle>,
    },
    Error {
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
}

/// An instrument as pages list it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listing {
    pub(crate) symbol: &'static str,
    pub(crate) name: &'static str,
    pub(crate) sector: &'static str,
    pub(crate) decimals: u32,
    pub(crate) tick: Money,
    pub(crate) quote: Quote,
    /// The course of the last hour, oldest first, for a small picture.
    pub(crate) hour: Vec<Money>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) symbol: &'static str,
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) quantity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<Money>,
    pub(crate) status: Status,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    pub(crate) time: u64,
    /// Its place among the orders of the desk, which pages need not know.
    #[serde(skip)]
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Working,
    Filled,
    Cancelled,
    Rejected,
}

/// An order carried out; always the whole of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fill {
    /// Numbers the fills of a trader.
    pub(crate) id: u64,
    pub(crate) order: String,
    pub(crate) symbol: &'static str,
    pub(crate) side: Side,
    pub(crate) quantity: i64,
    pub(crate) price: Money,
    pub(crate) time: u64,
}

/// What a trader has of an instrument.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Position {
    pub(crate) symbol: &'static str,
    /// Negative when more was sold than bought.
    pub(crate) quantity: i64,
    /// What was paid for it; negative when it was sold.
    pub(crate) cost: Money,
    /// Profit of what was closed.
    pub(crate) realised: Money,
}

/// A message for one temporary queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DeskMessage {
    pub(crate) to: String,
    pub(crate) body: Vec<u8>,
}

impl DeskMessage {
    pub(crate) fn push(out: &mut Vec<Self>, to: &str, reply: &Reply<'_>) {
        // Serializing these types to memory cannot fail.
        let body = serde_json::to_vec(reply).unwrap_or_default();
        out.push(Self { to: to.to_owned(), body });
    }
}
