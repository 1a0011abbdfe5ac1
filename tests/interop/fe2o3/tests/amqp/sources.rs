//! What a source may say: subscriptions, selectors, browsers, temporary queues.

use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::messaging::{
    ApplicationProperties, DistributionMode, Message, Properties, Source, Target,
    TerminusDurability, TerminusExpiryPolicy,
};
use fe2o3_amqp::types::primitives::Value;
use fe2o3_interop::{
    Client, Over, Peer, Settling, capable, drain, next, outcome, refused_receiver, send, take,
    text, topic, unique, within,
};
use serde_amqp::{described::Described, descriptor::Descriptor};

use crate::{assert_rejected, durable, message, with};

#[tokio::test]
async fn a_durable_subscription_keeps_what_comes_while_its_client_is_away() {
    let (name, container) = (unique("t"), unique("container"));
    let client = async || {
        let mut peer = Client { container: Some(container.clone()), ..Client::default() }
            .connect(Over::Tcp)
            .await;
        let source = Source {
            durable: TerminusDurability::UnsettledState,
            expiry_policy: TerminusExpiryPolicy::Never,
            ..capable(&name, &["topic"])
        };
        let receiver =
            peer.try_receiver("subscription".into(), source, Settling::default()).await.unwrap();
        (peer, receiver)
    };
    let mut publisher = Peer::new().await;
    let mut sender = publisher.sender(topic(&name)).await;
    let (peer, receiver) = client().await;
    // Without `closed`: it stays.
    within(receiver.detach()).await.map_err(|(_, error)| error).unwrap();
    peer.close().await;
    assert!(outcome(&mut sender, durable("while away")).await.is_accepted());
    let (peer, mut receiver) = client().await;
    assert_eq!(take(&mut receiver, 1).await, ["while away"]);
    within(receiver.close()).await.unwrap();
    peer.close().await;
    assert!(outcome(&mut sender, durable("when it was deleted")).await.is_accepted());
    let (mut peer, mut receiver) = client().await;
    drain(&mut peer, &mut receiver, 10, 0).await;
}

#[tokio::test]
async fn links_with_a_name_in_common_share_a_subscription() {
    let name = unique("t");
    let mut receivers = Vec::new();
    for number in 1..=2 {
        let mut peer = Peer::new().await;
        let link = format!("s-{name}|{number}");
        let source = capable(&name, &["topic", "shared", "global"]);
        let mut receiver = peer.try_receiver(link, source, Settling::default()).await.unwrap();
        within(receiver.set_credit(5)).await.unwrap();
        receivers.push((receiver, peer));
    }
    let mut publisher = Peer::new().await;
    send(
        &mut publisher.sender(topic(&name)).await,
        &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    )
    .await;
    let mut seen = Vec::new();
    for (receiver, _) in &mut receivers {
        for _ in 0..5 {
            seen.push(text(&within(receiver.recv()).await.unwrap()));
        }
    }
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn a_selector_says_which_messages_come() {
    let mut peer = Peer::new().await;
    for kind in ["queue", "topic"] {
        let name = unique("s");
        let source = |selector: &str| {
            let descriptor = Descriptor::Name("apache.org:selector-filter:string".into());
            let filter = Described { descriptor, value: Value::String(selector.into()) };
            let capabilities = capable(&name, &[kind]).capabilities.unwrap();
            Source::builder()
                .address(&*name)
                .capabilities(capabilities)
                .add_to_filter("selector", filter)
                .build()
        };
        let mut receiver = peer.receiver(source("colour = 'red' AND size > 2")).await;
        let target = Target::builder()
            .address(&*name)
            .capabilities(capable(&name, &[kind]).capabilities.unwrap());
        let mut sender = peer.sender(target.build()).await;
        for (size, colour) in ["blue", "red", "red", "red", "blue", "red"].into_iter().enumerate() {
            let properties = ApplicationProperties::builder()
                .insert("colour", colour)
                .insert("size", size as i32);
            let message = Message {
                application_properties: Some(properties.build()),
                ..message(format!("{colour} {size}"))
            };
            assert!(outcome(&mut sender, message).await.is_accepted());
        }
        assert_eq!(take(&mut receiver, 2).await, ["red 3", "red 5"]);
        refused_receiver(Client::default(), source("colour = "), "InvalidField").await;
    }
}

#[tokio::test]
async fn a_browser_leaves_messages_where_they_are() {
    let mut peer = Peer::new().await;
    let name = unique("q");
    send(&mut peer.sender(&*name).await, &["a", "b", "c"]).await;
    for _ in 0..2 {
        let source =
            Source { distribution_mode: Some(DistributionMode::Copy), ..Source::from(&*name) };
        let settled = Settling { sender: SenderSettleMode::Settled, ..Settling::default() };
        let mut browser = peer.try_receiver(unique("browser"), source, settled).await.unwrap();
        drain(&mut peer, &mut browser, 10, 3).await;
        within(browser.close()).await.unwrap();
    }
    assert_eq!(take(&mut peer.receiver(&*name).await, 3).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_request_is_answered_by_a_temporary_queue() {
    let (mut server, mut client) = (Peer::new().await, Peer::new().await);
    let name = unique("q");
    let mut requests = server.receiver(&*name).await;
    let mut replies = client.receiver(Source::builder().dynamic(true).build()).await;
    let address = replies.source().as_ref().and_then(|source| source.address.clone()).unwrap();
    let question = Properties::builder().reply_to(&*address).correlation_id("c".to_owned()).build();
    assert!(
        outcome(&mut client.sender(&*name).await, with("question", question)).await.is_accepted()
    );
    let request = next(&mut requests).await.into_message().properties.unwrap();
    assert_eq!(request.reply_to.as_deref(), Some(&*address));
    // The anonymous terminus: each message says where it goes.
    let mut relay = server.sender(Target::builder().build()).await;
    let answer = Properties {
        to: request.reply_to,
        correlation_id: request.correlation_id,
        ..Properties::new()
    };
    assert!(outcome(&mut relay, with("answer", answer.clone())).await.is_accepted());
    let reply = next(&mut replies).await;
    assert_eq!(text(&reply), "answer");
    assert_eq!(reply.message().properties.as_ref().unwrap().correlation_id, answer.correlation_id);
    refused_receiver(Client::default(), &*address, "UnauthorizedAccess").await;
    within(replies.close()).await.unwrap();
    assert_rejected(outcome(&mut relay, with("late", answer)).await, "NotFound");
}
