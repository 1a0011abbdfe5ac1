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
};

/// Where market and desk meet: lets time pass, hands messages in, hands frames out.
#[derive(Debug)]
pub(crate) struct Floor {
    market: Market,
    desk: Desk,
    quotes: mpsc::Sender<Vec<u8>>,
    answers: mpsc::Sender<Vec<u8>>,
}

impl Floor {
    pub(crate) fn new(
        market: Market,
        quotes: mpsc::Sender<Vec<u8>>,
        answers: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self { market, desk: Desk::default(), quotes, answers }
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
            let answers = tokio::select! {
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
            if !answers.is_empty() && self.answers.send(answers).await.is_err() {
                return;
            }
        }
    }

    /// Lets the market move: publishes the quotes, and gives back the frames of the desk.
    fn step(&mut self) -> Vec<u8> {
        let now_ms = clock::unix_ms();
        let mut changed = Vec::new();
        self.market.step(now_ms, |quote| changed.push(*quote));
        let mut quotes = Vec::new();
        let mut letters = Vec::new();
        for quote in &changed {
            // Serializing our own types to memory cannot fail.
            let body = serde_json::to_vec(quote).unwrap_or_default();
            let destination = format!("/topic/quotes.{}", quote.symbol);
            client::send(&destination, body).encode(Version::V1_2, &mut quotes);
            self.desk.apply(desk::Event::Quote(quote), &self.market, now_ms, &mut letters);
        }
        // A gateway that does not keep up misses quotes: newer ones follow.
        drop(self.quotes.try_send(quotes));
        frames(letters)
    }

    /// Lets the desk work on what its client tells, and gives back the frames of the desk.
    fn event(&mut self, event: &Event) -> Vec<u8> {
        let now_ms = clock::unix_ms();
        let mut letters = Vec::new();
        match event {
            Event::Message(message) => {
                let (body, reply_to) = (&*message.body, message.header("reply-to"));
                let request = desk::Event::Request { body, reply_to };
                self.desk.apply(request, &self.market, now_ms, &mut letters);
                let mut frames = frames(letters);
                client::ack(message).encode(Version::V1_2, &mut frames);
                frames
            }
            Event::Lost => {
                self.desk.apply(desk::Event::Lost, &self.market, now_ms, &mut letters);
                frames(letters)
            }
        }
    }
}

fn frames(letters: Vec<desk::Letter>) -> Vec<u8> {
    let mut frames = Vec::new();
    for letter in letters {
        client::send(&letter.to, letter.body).encode(Version::V1_2, &mut frames);
    }
    frames
}
