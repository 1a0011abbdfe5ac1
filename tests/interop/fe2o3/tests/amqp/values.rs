//! Values, in properties, annotations and bodies.

use fe2o3_amqp::types::messaging::{
    ApplicationProperties, Header, Message, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{
    Array, Dec32, Dec64, Dec128, OrderedMap, SimpleValue, Symbol, Timestamp, Uuid, Value,
};
use fe2o3_interop::{Peer, next, outcome, unique, within};
use serde_amqp::{described::Described, descriptor::Descriptor};

use crate::{message, with};

fn simple() -> Vec<(&'static str, SimpleValue)> {
    vec![
        ("null", SimpleValue::Null),
        ("bool", true.into()),
        ("ubyte", 200_u8.into()),
        ("ushort", 60_000_u16.into()),
        ("uint", 4_000_000_000_u32.into()),
        ("ulong", u64::MAX.into()),
        ("byte", (-128_i8).into()),
        ("short", (-30_000_i16).into()),
        ("int", (-5_i32).into()),
        ("long", i64::MIN.into()),
        ("float", 0.5_f32.into()),
        ("double", 1e300_f64.into()),
        ("char", '€'.into()),
        ("timestamp", Timestamp::from_milliseconds(1_234_567_890_123).into()),
        ("decimal32", SimpleValue::Decimal32(Dec32::from([1; 4]))),
        ("decimal64", SimpleValue::Decimal64(Dec64::from([2; 8]))),
        ("decimal128", SimpleValue::Decimal128(Dec128::from([3; 16]))),
        ("uuid", Uuid::from([7; 16]).into()),
        ("binary", SimpleValue::Binary(vec![0, 255].into())),
        ("string", "ä€𝄞".into()),
        ("symbol", Symbol::from("s").into()),
    ]
}

#[tokio::test]
async fn values_keep_their_types() {
    let mut peer = Peer::new().await;
    let name = unique("q");
    let (mut sender, mut receiver) = (peer.sender(&*name).await, peer.receiver(&*name).await);
    let mut annotations = MessageAnnotations::builder();
    let mut application = ApplicationProperties::builder();
    for (kind, value) in simple() {
        annotations =
            annotations.insert(Symbol::from(format!("x-{kind}")), Value::from(value.clone()));
        application = application.insert(kind, value);
    }
    let properties = Properties::builder()
        .message_id(MessageId::Ulong(17))
        .correlation_id(MessageId::Uuid(Uuid::from([5; 16])))
        .to("elsewhere")
        .subject("kind")
        .reply_to("answers")
        .content_type("text/plain")
        .content_encoding("gzip")
        .creation_time(Timestamp::from_milliseconds(1_700_000_000_000))
        .group_id("g".to_owned())
        .group_sequence(3)
        .reply_to_group_id("r".to_owned())
        .build();
    let sent = Message {
        header: Some(Header::builder().durable(true).priority(7).build()),
        message_annotations: Some(annotations.build()),
        application_properties: Some(application.build()),
        ..with("hello", properties)
    };
    assert!(outcome(&mut sender, sent.clone()).await.is_accepted());
    let delivery = next(&mut receiver).await;
    within(receiver.accept(&delivery)).await.unwrap();
    let got = delivery.message();
    let header = got.header.as_ref().unwrap();
    assert_eq!((header.durable, header.priority.0, header.delivery_count), (true, 7, 0));
    assert_eq!(got.message_annotations, sent.message_annotations);
    assert_eq!(got.properties, sent.properties);
    assert_eq!(got.application_properties, sent.application_properties);

    let mut map = OrderedMap::new();
    map.insert(Value::Int(5), Value::Binary(vec![7; 300].into()));
    map.insert(Value::String("a".into()), Value::List(vec![Value::Null, Value::Ulong(1)]));
    let bodies = simple().into_iter().map(|(_, value)| value.into()).chain([
        Value::List(vec![
            Value::Int(1),
            Value::List(vec![Value::List(Vec::new())]),
            Value::Map(map.clone()),
        ]),
        Value::Map(map),
        Value::Array(Array(vec![Value::Int(1), Value::Int(-70_000)])),
        Value::Array(Array(vec![Value::Symbol("a".into()), Value::Symbol("b".repeat(300).into())])),
        Value::Described(Box::new(Described {
            descriptor: Descriptor::Code(77),
            value: Value::List(vec![Value::Null]),
        })),
        Value::Described(Box::new(Described {
            descriptor: Descriptor::Name("own".into()),
            value: Value::Uint(0),
        })),
    ]);
    for body in bodies {
        assert!(outcome(&mut sender, message(body.clone())).await.is_accepted());
        let delivery = next(&mut receiver).await;
        within(receiver.accept(&delivery)).await.unwrap();
        assert_eq!(*delivery.body(), body);
    }
}
