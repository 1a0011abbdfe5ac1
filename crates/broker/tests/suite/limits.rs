//! The limits of a connection go with it; those of the shard are for the others.

use std::sync::Arc;

use broker::Event;
use contract::{
    Body, Command, ConnectionId, ConnectionLimits, Declare, Destination, DestinationKind, Ending,
    Lane, Message, Operation, Pattern, Refusal, Settlement, Subscribe, SubscriptionId, Token,
};

use crate::world::{Limits, Outcome, World};

#[test]
fn a_connection_has_its_own_limits() {
    let shared = ConnectionLimits {
        subscriptions_max: 2,
        temporary_max: 2,
        transaction_operations_max: 2,
        ..ConnectionLimits::default()
    };
    let own = ConnectionLimits {
        subscriptions_max: 30,
        temporary_max: 20,
        transaction_operations_max: 10,
        ..shared
    };
    let mut world = World::new(2, Limits { connection: shared.clone(), ..Limits::default() });
    for (generation, limits) in [(1, &own), (2, &shared)] {
        let connection = ConnectionId { core: 1, slot: 1, generation };
        if generation == 1 {
            world.apply(1, Event::Opened(connection, Arc::new(limits.clone())));
        }
        let mut token = 0;
        let mut allowed = |make: &dyn Fn(u32) -> Command| {
            for count in 0.. {
                token += 1;
                let event = Event::Command(connection, Token(token), make(count), None);
                world.apply(1, event);
                world.carry_all();
                match world.outcomes.drain(..).next_back() {
                    Some(Outcome::Replied(_, _, Ok(_))) => {}
                    Some(Outcome::Replied(_, _, Err(Refusal::Limit))) => return count as usize,
                    other => panic!("{other:?}"),
                }
            }
            0
        };
        let subscribe = |count| {
            Command::Subscribe(Box::new(Subscribe {
                settlement: Settlement::Explicit,
                credit: Some(0),
                ..Subscribe::new(SubscriptionId(count), Pattern::parse("/queue/a").unwrap())
            }))
        };
        let declare = |count: u32| {
            let random = u128::from(generation) << 64 | u128::from(count);
            let destination = Destination::temporary(DestinationKind::TempQueue, random);
            Command::Declare(Declare { destination })
        };
        let transact = |count: u32| {
            let to = Destination::parse("/topic/t").unwrap();
            let message = Arc::new(Message::new(to, 1, 0, Body::Text("x".into())));
            let operations = (0..count).map(|_| Operation::Publish(Arc::clone(&message)));
            Command::Transact(Lane::default(), operations.collect())
        };
        assert_eq!(allowed(&subscribe), limits.subscriptions_max);
        assert_eq!(allowed(&declare), limits.temporary_max);
        assert_eq!(allowed(&transact), limits.transaction_operations_max + 1, "with none");
        world.apply(1, Event::Gone(connection));
        world.carry_all();
    }
}

#[test]
fn the_names_of_a_connection_have_a_budget() {
    let connection = ConnectionLimits { pattern_bytes_max: 100, ..ConnectionLimits::default() };
    let mut world = World::new(2, Limits { connection, ..Limits::default() });
    let connection = ConnectionId { core: 1, slot: 1, generation: 1 };
    let mut token = 0;
    let mut result = |command| {
        token += 1;
        world.apply(1, Event::Command(connection, Token(token), command, None));
        world.carry_all();
        match world.outcomes.drain(..).next_back() {
            Some(Outcome::Replied(_, _, result)) => result.map(drop),
            other => panic!("{other:?}"),
        }
    };
    let subscribe = |id, pattern: &str| {
        Command::Subscribe(Box::new(Subscribe {
            settlement: Settlement::Explicit,
            credit: Some(0),
            ..Subscribe::new(SubscriptionId(id), Pattern::parse(pattern).unwrap())
        }))
    };
    let long = format!("/queue/{}", "x".repeat(90));
    // What is ended is given back, round after round.
    for _ in 0..10 {
        assert_eq!(result(subscribe(1, &long)), Ok(()));
        assert_eq!(result(subscribe(2, "/topic/ab.*.>")), Ok(()));
        assert_eq!(result(subscribe(3, "/topic/abc.d")), Err(Refusal::PatternBytes));
        assert_eq!(result(subscribe(3, "/topic/a.b")), Ok(()));
        for id in 1..=3 {
            assert_eq!(result(Command::Unsubscribe(SubscriptionId(id), Ending::Suspend)), Ok(()));
        }
    }
}
