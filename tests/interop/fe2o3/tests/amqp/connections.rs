//! Ways to the gateway, logins, frames, idle connections, what is refused.

use std::time::Duration;

use fe2o3_amqp::Sendable;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::messaging::{Properties, Target};
use fe2o3_amqp::types::primitives::Value;
use fe2o3_interop::{
    Client, Over, assert_refused, capable, next, outcome, refused_receiver, refused_sender, send,
    take, topic, unique, within,
};

use crate::{assert_rejected, message, plain, scram, with};

#[tokio::test]
async fn messages_pass_a_queue() {
    for over in Over::ALL {
        let mut peer = Client::default().connect(over).await;
        let name = unique("q");
        send(&mut peer.sender(&*name).await, &["one", "two", "three"]).await;
        assert_eq!(
            take(&mut peer.receiver(&*name).await, 3).await,
            ["one", "two", "three"],
            "{over:?}"
        );
        peer.close().await;
    }
}

#[tokio::test]
async fn messages_of_a_topic_go_to_all_who_receive() {
    for over in Over::ALL {
        let mut peer = Client::default().connect(over).await;
        let name = unique("t");
        let mut receivers = [
            peer.receiver(capable(&name, &["topic"])).await,
            peer.receiver(capable(&format!("{name}.>"), &["topic"])).await,
            peer.receiver(format!("topic://{name}")).await,
        ];
        send(&mut peer.sender(topic(&name)).await, &["news"]).await;
        for receiver in &mut receivers {
            assert_eq!(take(receiver, 1).await, ["news"], "{over:?}");
        }
    }
}

#[tokio::test]
async fn a_client_logs_in() {
    let ann = [Some(plain("ann", "secret")), Some(scram("ann", "secret"))];
    let nobody = [Some(SaslProfile::Anonymous), None];
    for login in ann.into_iter().chain(nobody) {
        for over in Over::ALL {
            let is_ann = !matches!(login, None | Some(SaslProfile::Anonymous));
            let mut peer = Client { login: login.clone(), ..Client::default() }.connect(over).await;
            let mut sender = peer.sender(unique("q")).await;
            let user = b"ann".to_vec();
            let outcome =
                outcome(&mut sender, with("x", Properties::builder().user_id(user).build())).await;
            assert_eq!(outcome.is_accepted(), is_ann, "{login:?} over {over:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused() {
    for login in [
        plain("ann", "wrong"),
        plain("nobody", "secret"),
        scram("ann", "wrong"),
        scram("nobody", "secret"),
    ] {
        let client = Client { login: Some(login.clone()), ..Client::default() };
        assert_refused(client.open(Over::Tcp).await, "SaslError { code: Auth");
    }
}

#[tokio::test]
async fn messages_larger_than_a_frame_come_whole() {
    for (over, size) in
        [(Over::Tcp, 512), (Over::Tcp, 4096), (Over::Tcp, 1 << 20), (Over::WebSocket, 512)]
    {
        let mut peer =
            Client { max_frame_size: Some(size), ..Client::default() }.connect(over).await;
        let name = unique("q");
        let (mut sender, mut receiver) = (peer.sender(&*name).await, peer.receiver(&*name).await);
        for length in [0, 400, 5000, 100_000, 1_048_000] {
            let body = vec![(length % 251) as u8; length];
            let sent = Value::Binary(body.into());
            assert!(outcome(&mut sender, message(sent.clone())).await.is_accepted());
            let delivery = next(&mut receiver).await;
            within(receiver.accept(&delivery)).await.unwrap();
            assert!(*delivery.body() == sent, "{length} bytes in frames of {size} over {over:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_idle_is_kept() {
    let mut peer = Client { idle_ms: Some(2000), ..Client::default() }.connect(Over::Tcp).await;
    let mut sender = peer.sender(unique("q")).await;
    tokio::time::sleep(Duration::from_millis(3000)).await;
    send(&mut sender, &["x"]).await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let ann = Client { login: Some(plain("ann", "secret")), ..Client::default() };
    refused_receiver(ann.clone(), "forbidden.a", "UnauthorizedAccess").await;
    refused_receiver(ann.clone(), "queue://a.*", "InvalidField").await;
    let queue =
        Target { capabilities: capable("", &["queue"]).capabilities, ..Target::from("topic://a") };
    for target in [Target::from("topic://a.*"), Target::from("a..b"), queue] {
        refused_sender(target, "InvalidField").await;
    }
    let mut peer = ann.connect(Over::Tcp).await;
    let mut sender = peer.sender("forbidden.a").await;
    assert_rejected(outcome(&mut sender, message("x".to_owned())).await, "UnauthorizedAccess");
    let mut relay = peer.sender(Target::builder().build()).await;
    assert_rejected(outcome(&mut relay, message("nowhere".to_owned())).await, "InvalidField");
    let mut sender = peer.sender(unique("q")).await;
    assert_eq!(sender.max_message_size(), Some(1 << 20));
    let large = message(Value::Binary(vec![0; 2_000_000].into()));
    assert!(within(sender.send(Sendable::from(large))).await.is_err());
}
