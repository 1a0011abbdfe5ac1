//! AMQP 1.0 with fe2o3-amqp, against a running gateway.

mod connections;
mod settlement;
mod sources;
mod values;

use fe2o3_amqp::sasl_profile::{SaslProfile, SaslScramSha256};
use fe2o3_amqp::types::messaging::{AmqpValue, Header, Message, Outcome, Properties};
use fe2o3_amqp::types::primitives::Value;

fn plain(name: &str, password: &str) -> SaslProfile {
    SaslProfile::Plain { username: name.into(), password: password.into() }
}

fn scram(name: &str, password: &str) -> SaslProfile {
    SaslProfile::ScramSha256(SaslScramSha256::new(name, password))
}

fn message(body: impl Into<Value>) -> Message<AmqpValue<Value>> {
    Message::builder().value(body.into()).build()
}

fn durable(body: &str) -> Message<AmqpValue<Value>> {
    let header = Header::builder().durable(true).build();
    Message { header: Some(header), ..message(body.to_owned()) }
}

fn with(body: &str, properties: Properties) -> Message<AmqpValue<Value>> {
    Message { properties: Some(properties), ..message(body.to_owned()) }
}

#[track_caller]
fn assert_rejected(outcome: Outcome, condition: &str) {
    let said = format!("{outcome:?}");
    assert!(outcome.is_rejected() && said.contains(condition), "{said} instead of {condition}");
}
