//! Outcomes, settlement modes, credit, transactions.

use fe2o3_amqp::Sendable;
use fe2o3_amqp::transaction::{
    Controller, Transaction, TransactionDischarge, TransactionPosting, TransactionRetirement,
};
use fe2o3_amqp::types::definitions::{ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp::types::messaging::Modified;
use fe2o3_amqp::types::primitives::Value;
use fe2o3_interop::{
    Peer, Settling, drain, next, nothing, outcome, send, take, text, unique, within,
};

use crate::{durable, message};

#[tokio::test]
async fn outcomes_are_what_they_say() {
    let mut peer = Peer::new().await;
    let name = unique("q");
    send(&mut peer.sender(&*name).await, &["x"]).await;
    let mut receiver = peer.receiver(&*name).await;
    let modified = |failed, undeliverable| Modified {
        delivery_failed: Some(failed),
        undeliverable_here: Some(undeliverable),
        message_annotations: None,
    };
    let steps = [
        (0, None),
        (0, Some((false, false))),
        (0, Some((true, false))),
        (1, Some((false, true))),
        (1, None),
    ];
    for (count, step) in steps {
        let delivery = next(&mut receiver).await;
        assert_eq!(
            delivery.message().header.as_ref().map_or(0, |header| header.delivery_count),
            count,
            "{step:?}"
        );
        match step {
            None => within(receiver.release(&delivery)).await.unwrap(),
            Some((failed, undeliverable)) => {
                within(receiver.modify(&delivery, modified(failed, undeliverable))).await.unwrap();
                if undeliverable {
                    drain(&mut peer, &mut receiver, 1, 0).await;
                    receiver = peer.receiver(&*name).await;
                }
            }
        }
    }
    let delivery = next(&mut receiver).await;
    within(receiver.reject(&delivery, None)).await.unwrap();
    let dead = next(&mut peer.receiver(format!("DLQ.{name}")).await).await;
    assert_eq!(text(&dead), "x");
    let annotations = &dead.message().delivery_annotations.as_ref().unwrap().0;
    let (_, queue) =
        annotations.iter().find(|(key, _)| format!("{key:?}").contains("x-opt-dlq-queue")).unwrap();
    assert_eq!(*queue, Value::String(format!("/queue/{name}")));
    drain(&mut peer, &mut receiver, 1, 0).await;
}

#[tokio::test]
async fn what_is_not_settled_comes_again_when_its_link_closes() {
    let mut peer = Peer::new().await;
    let name = unique("q");
    send(&mut peer.sender(&*name).await, &["a", "b", "c"]).await;
    let mut first = peer.receiver(&*name).await;
    assert_eq!(take(&mut first, 1).await, ["a"]);
    assert_eq!(text(&next(&mut first).await), "b");
    within(first.close()).await.unwrap();
    assert_eq!(take(&mut peer.receiver(&*name).await, 2).await, ["b", "c"]);
}

#[tokio::test]
async fn a_receiver_settles_second() {
    let mut peer = Peer::new().await;
    let name = unique("q");
    assert!(outcome(&mut peer.sender(&*name).await, durable("x")).await.is_accepted());
    let second = Settling { receiver: ReceiverSettleMode::Second, ..Settling::default() };
    let mut receiver = peer.try_receiver(unique("second"), &*name, second).await.unwrap();
    assert_eq!(take(&mut receiver, 1).await, ["x"]);
    peer.sync().await;
    within(receiver.close()).await.unwrap();
    let mut receiver = peer.receiver(&*name).await;
    drain(&mut peer, &mut receiver, 10, 0).await;
}

#[tokio::test]
async fn what_is_sent_settled_is_taken_and_what_is_received_settled_is_gone() {
    let mut peer = Peer::new().await;
    let name = unique("q");
    let mut sender = peer.try_sender(&*name, SenderSettleMode::Settled).await.unwrap();
    for number in 0..150 {
        within(sender.send(Sendable::from(message(number)))).await.unwrap();
    }
    peer.sync().await;
    let settled = Settling { sender: SenderSettleMode::Settled, ..Settling::default() };
    let mut receiver = peer.try_receiver(unique("settled"), &*name, settled).await.unwrap();
    for (number, delivery) in (0..).zip(drain(&mut peer, &mut receiver, 100, 100).await) {
        assert_eq!(*delivery.body(), Value::Int(number));
    }
    within(receiver.close()).await.unwrap();
    assert_eq!(*next(&mut peer.receiver(&*name).await).await.body(), Value::Int(100));
}

#[tokio::test]
async fn no_more_comes_than_there_is_credit_for_and_a_drain_is_answered() {
    let mut peer = Peer::new().await;
    let name = unique("q");
    let (mut sender, mut receiver) = (peer.sender(&*name).await, peer.receiver(&*name).await);
    send(&mut sender, &["1", "2", "3", "4", "5", "6"]).await;
    assert_eq!(take(&mut receiver, 1).await, ["1"]);
    for delivery in drain(&mut peer, &mut receiver, 100, 5).await {
        within(receiver.accept(&delivery)).await.unwrap();
    }
    drain(&mut peer, &mut receiver, 10, 0).await;
    send(&mut sender, &["later"]).await;
    peer.sync().await;
    nothing(&mut receiver).await;
    assert_eq!(take(&mut receiver, 1).await, ["later"]);
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    for commits in [true, false] {
        let (mut peer, mut other) = (Peer::new().await, Peer::new().await);
        let (source, target) = (unique("q"), unique("q"));
        send(&mut peer.sender(&*source).await, &["in"]).await;
        let (mut receiver, mut sender) =
            (peer.receiver(&*source).await, peer.sender(&*target).await);
        let controller =
            within(Controller::attach(&mut peer.session, unique("controller"))).await.unwrap();
        let transaction = within(Transaction::declare(&controller, None)).await.unwrap();
        let delivery = next(&mut receiver).await;
        within(transaction.accept(&mut receiver, &delivery)).await.unwrap();
        let outcome = within(transaction.post(&mut sender, "out")).await.unwrap();
        assert!(outcome.is_accepted(), "{outcome:?}");
        let mut elsewhere = other.receiver(&*target).await;
        drain(&mut other, &mut elsewhere, 1, 0).await;
        if commits {
            within(transaction.commit()).await.unwrap();
        } else {
            within(transaction.rollback()).await.unwrap();
        }
        within(receiver.close()).await.unwrap();
        drain(&mut other, &mut elsewhere, 1, usize::from(commits)).await;
        let mut back = other.receiver(&*source).await;
        drain(&mut other, &mut back, 1, usize::from(!commits)).await;
        within(controller.close()).await.unwrap();
    }
}
