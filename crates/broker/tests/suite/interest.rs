//! Interests that last without subscriptions.

use std::sync::Arc;

use broker::{Event, Subscriber};
use bytes::Bytes;
use contract::{
    Body, Command, ConnectionId, Destination, Lane, Message, Subscribe, SubscriptionId, Token,
};

use crate::world::{Limits, Outcome, World};

#[test]
fn a_kept_interest_makes_a_subscription_complete_at_once() {
    let topic = Destination::parse("/topic/a").unwrap();
    let mut world = World::new(3, Limits::default());
    for core in 0..3 {
        world.apply(core, Event::KeepInterest(topic.clone().into()));
    }
    world.carry_all();
    for round in 1..=2 {
        let connection = ConnectionId { core: 1, slot: 7, generation: round };
        let subscribe = Subscribe::new(SubscriptionId(1), topic.clone().into());
        let command = Command::Subscribe(Box::new(subscribe));
        world.apply(1, Event::Command(connection, Token(1), command, None));
        assert!(world.busy().is_empty(), "no shard needs to be told");
        assert!(matches!(world.outcomes.pop(), Some(Outcome::Replied(_, Token(1), Ok(_)))));
        publish(&mut world, &topic);
        let subscriber = Subscriber { connection, subscription: SubscriptionId(1) };
        let delivered =
            |outcome: &Outcome| matches!(outcome, Outcome::Delivered(to, _) if *to == subscriber);
        assert_eq!(world.outcomes.iter().filter(|outcome| delivered(outcome)).count(), 1);
        world.outcomes.clear();
        world.apply(1, Event::Gone(connection));
        assert!(world.busy().is_empty(), "the interest lasts");
        publish(&mut world, &topic);
        assert!(world.outcomes.iter().all(|outcome| !delivered(outcome)));
        world.outcomes.clear();
    }
}

fn publish(world: &mut World, topic: &Destination) {
    let publisher = ConnectionId { core: 0, slot: 1, generation: 1 };
    let message = Message::new(topic.clone(), 1, 0, Body::Text(Bytes::from_static(b"x")));
    let command = Command::Publish(Lane::default(), Arc::new(message));
    world.apply(0, Event::Command(publisher, Token(1), command, None));
    world.carry_all();
}
