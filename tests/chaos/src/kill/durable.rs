//! The durable subscriptions of a round: they are made before it begins, and last.

use std::{io, net::SocketAddr};

use super::{client::Client, event::Event, stage::Stage};

/// A durable subscription to topics.
#[derive(Debug)]
pub(super) struct Durable {
    /// Its queue in the ledger, so that its dead-letter queue is that of a queue of this name.
    pub(super) queue: &'static str,
    destination: &'static str,
    topics: &'static [&'static str],
    /// Headers of CONNECT.
    pub(super) client: &'static str,
    /// Headers of SUBSCRIBE.
    name: &'static str,
}

/// One of each kind: with one reader and a topic, with one reader and several, and with several readers.
pub(super) const DURABLE: [Durable; 3] = [
    Durable {
        queue: "/queue/topic.feed.0",
        destination: "/topic/feed.0",
        topics: &["/topic/feed.0"],
        client: "client-id:one\n",
        name: "durable-subscription-name:one\n",
    },
    Durable {
        queue: "/queue/topic.feed.all",
        destination: "/topic/feed.>",
        topics: &FEEDS,
        client: "client-id:all\n",
        name: "durable-subscription-name:all\n",
    },
    Durable {
        queue: "/queue/topic.feed.1",
        destination: "/topic/feed.1",
        topics: &["/topic/feed.1"],
        client: "",
        name: "durable-subscription-name:shared\nshared:true\n",
    },
];

/// The topics.
pub(super) const FEEDS: [&str; 2] = ["/topic/feed.0", "/topic/feed.1"];

impl Durable {
    /// The one with this queue, if it is one's.
    pub(super) fn of(queue: &str) -> Option<&'static Self> {
        DURABLE.iter().find(|durable| durable.queue == queue)
    }

    /// Where it is subscribed to, and by which headers.
    pub(super) const fn target(&self) -> (&'static str, &'static str) {
        (self.destination, self.name)
    }
}

/// Makes all of them.
pub(super) fn bind(stage: &Stage, address: SocketAddr) -> io::Result<()> {
    for durable in &DURABLE {
        let mut client = Client::connect(stage, address, durable.client)?;
        client.subscribe(durable.queue, "ack:client-individual\n")?;
        for topic in durable.topics {
            let (name, topic) = (durable.queue.to_owned(), (*topic).to_owned());
            stage.record(Event::Bound { name, topic });
        }
        client.leave(false)?;
    }
    Ok(())
}
