use std::time::Duration;

use stomp::Version;
use tokio::{
    sync::mpsc,
    time::{self, MissedTickBehavior},
};

use crate::{
    client::{self, Event},
    clock,
    desk::{self, Desk},
    market::{Market, STEP_MS},
    messages::DeskMessage,
};

/// Where market and desk meet: lets time pass, hands messages in, hands frames out.
#[derive(Debug)]
pub(crate) struct Floor {
    market: Market,
    desk: Desk,
    quotes: mpsc::Sender<Vec<u8>>,
    replies: mpsc::Sender<Vec<u8>>,
}

impl Floor {
    pub(crate) fn new(
        market: Market,
        quotes: mpsc::Sender<Vec<u8>>,
        replies: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self { market, desk: Desk::default(), quotes, replies }
    }

    /// Runs until the clients end.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut feed_events: mpsc::Receiver<Event>,
    ) {
        let mut step = time::interval(Duration::from_millis(STEP_MS));
        step.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let replies = tokio::select! {
                _ = step.tick() => self.step(),
                event = events.recv() => match event {
                    Some(event) => self.event(&event),
                    None => return,
                },
                event = feed_events.recv() => match event {
                    Some(_) => continue,
                    None => return,
                },
            };
            if !replies.is_empty() && self.replies.send(replies).await.is_err() {
                return;
            }
        }
    }

    /// Moves the market: publishes the quotes, and returns the frames of the desk.
    fn step(&mut self) -> Vec<u8> {
        let now_ms = clock::unix_ms();
        let mut changed = Vec::new();
        self.market.step(now_ms, |quote| changed.push(*quote));
        let mut quotes = Vec::new();
        let mut messages = Vec::new();
        for quote in &changed {
            // Serializing our own types to memory cannot fail.
            let body = serde_json::to_vec(quote).unwrap_or_default();
            let destination = format!("/topic/quotes.{}", quote.symbol);
            client::send(&destination, body).encode(Version::V1_2, &mut quotes);
            self.desk.apply(desk::Event::Quote(quote), &self.market, now_ms, &mut messages);
        }
        // A gateway that does not keep up misses quotes: newer ones follow.
        drop(self.quotes.try_send(quotes));
        frames(messages)
    }

    /// Feeds the desk an event of its client; returns the frames of the desk.
    fn event(&mut self, event: &Event) -> Vec<u8> {
        let now_ms = clock::unix_ms();
        let mut messages = Vec::new();
        match event {
            Event::Message(message) => {
                let (body, reply_to) = (&*message.body, message.header("reply-to"));
                let request = desk::Event::Request { body, reply_to };
                self.desk.apply(request, &self.market, now_ms, &mut messages);
                let mut frames = frames(messages);
                client::ack(message).encode(Version::V1_2, &mut frames);
                frames
            }
            Event::Lost => {
                self.desk.apply(desk::Event::Lost, &self.market, now_ms, &mut messages);
                frames(messages)
            }
        }
    }
}

fn frames(messages: Vec<DeskMessage>) -> Vec<u8> {
    let mut frames = Vec::new();
    for message in messages {
        client::send(&message.to, message.body).encode(Version::V1_2, &mut frames);
    }
    frames
}
