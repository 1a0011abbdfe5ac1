#![expect(clippy::wildcard_enum_match_arm, reason = "the types of AMQP are complete")]

use amqp_types::Value;

use crate::{Destination, DestinationError, DestinationKind, Pattern};

/// How AMQP 1.0 writes destinations: a name, and beside it, in a capability or an annotation, the kind.
///
/// An address may also say its kind itself: `queue://a.b`, `topic://a.b`, or as [`Destination::parse`]
/// has it. Where neither says it, it is a queue.
#[derive(Clone, Copy, Debug)]
pub struct Address;

/// Why an address names nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// It is no destination.
    #[error(transparent)]
    Destination(DestinationError),
    /// It says another kind than what stands beside it.
    #[error("the address says another kind of destination than its capabilities or annotations")]
    Kind,
}

impl Address {
    /// What an address is about. `kind`: what stands beside it.
    ///
    /// # Errors
    /// When it is about nothing.
    pub fn pattern(text: &str, kind: Option<DestinationKind>) -> Result<Pattern, AddressError> {
        let parse = |text: &str| Pattern::parse(text).map_err(AddressError::Destination);
        let (said, name) = SCHEMES
            .into_iter()
            .find_map(|(scheme, kind)| Some((Some(kind), text.strip_prefix(scheme)?)))
            .unwrap_or((None, text));
        let pattern = match said {
            Some(said) => parse(&format!("{}{name}", said.prefix()))?,
            // A name may begin like that too, if what stands beside it is not that.
            None => match Pattern::parse(text) {
                Ok(pattern) => pattern,
                Err(DestinationError::Prefix) => {
                    let kind = kind.unwrap_or(DestinationKind::Queue);
                    parse(&format!("{}{name}", kind.prefix()))?
                }
                Err(error) => return Err(AddressError::Destination(error)),
            },
        };
        // A temporary queue is a queue.
        let is_same = kind.is_none_or(|kind| {
            kind == pattern.kind()
                || !kind.is_temporary() && kind.is_queue() == pattern.kind().is_queue()
        });
        if is_same { Ok(pattern) } else { Err(AddressError::Kind) }
    }

    /// The one destination that an address is.
    #[must_use]
    pub fn destination(text: &str, kind: Option<DestinationKind>) -> Option<Destination> {
        Self::pattern(text, kind).ok()?.destination().cloned()
    }

    /// The address of a destination, beside which its kind stands: the name, and of a temporary one all
    /// of it.
    #[must_use]
    pub fn text(destination: &Destination) -> String {
        let skipped = usize::from(!destination.kind().is_temporary());
        destination.text().skip(skipped).collect()
    }

    /// The value of `x-opt-jms-dest` and `x-opt-jms-reply-to` for a kind.
    #[must_use]
    pub const fn code(kind: DestinationKind) -> i8 {
        match kind {
            DestinationKind::Queue => 0,
            DestinationKind::Topic => 1,
            DestinationKind::TempQueue => 2,
            DestinationKind::TempTopic => 3,
        }
    }

    /// The kind that an annotation says: those, or the strings of `x-opt-to-type`.
    #[must_use]
    pub fn kind(value: Value<'_>) -> Option<DestinationKind> {
        let code = match value {
            Value::I8(code) => code.into(),
            Value::U8(code) => code.into(),
            Value::I32(code) => code,
            Value::U32(code) => i32::try_from(code).ok()?,
            Value::I64(code) => i32::try_from(code).ok()?,
            Value::String(text) => {
                let is_temporary = text.contains("temporary");
                return Some(match (text.contains("topic"), is_temporary) {
                    (true, false) => DestinationKind::Topic,
                    (true, true) => DestinationKind::TempTopic,
                    (false, false) => DestinationKind::Queue,
                    (false, true) => DestinationKind::TempQueue,
                });
            }
            _ => return None,
        };
        match code {
            0 => Some(DestinationKind::Queue),
            1 => Some(DestinationKind::Topic),
            2 => Some(DestinationKind::TempQueue),
            3 => Some(DestinationKind::TempTopic),
            _ => None,
        }
    }
}

const SCHEMES: [(&str, DestinationKind); 4] = [
    ("queue://", DestinationKind::Queue),
    ("topic://", DestinationKind::Topic),
    ("temp-queue://", DestinationKind::TempQueue),
    ("temp-topic://", DestinationKind::TempTopic),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_address_stands_in_it_or_beside_it() {
        use DestinationKind::{Queue, TempQueue, Topic};
        let hex = "0123456789abcdef0123456789abcdef";
        let temporary = format!("/temp-queue/{hex}");
        let cases: &[(&str, Option<DestinationKind>, Result<&str, AddressError>)] = &[
            ("a.b", None, Ok("/queue/a.b")),
            ("a.b", Some(Topic), Ok("/topic/a.b")),
            ("a.*", Some(Topic), Ok("/topic/a.*")),
            ("queue://a", None, Ok("/queue/a")),
            ("topic://a.>", None, Ok("/topic/a.>")),
            ("/topic/a", Some(Topic), Ok("/topic/a")),
            (&temporary, Some(TempQueue), Ok(&temporary)),
            (&temporary, Some(Queue), Ok(&temporary)),
            (hex, Some(TempQueue), Ok(&temporary)),
            ("a/b", None, Ok("/queue/a/b")),
            ("topic://a", Some(Queue), Err(AddressError::Kind)),
            ("/queue/a", Some(TempQueue), Err(AddressError::Kind)),
            ("a.*", None, Err(AddressError::Destination(DestinationError::Wildcard))),
            ("", None, Err(AddressError::Destination(DestinationError::Empty))),
        ];
        for (text, kind, expected) in cases {
            let pattern = Address::pattern(text, *kind).map(|pattern| pattern.to_string());
            assert_eq!(pattern.as_deref().map_err(|error| *error), *expected, "{text} {kind:?}");
        }
    }

    #[test]
    fn an_address_and_its_kind_name_the_same_again() {
        for text in ["/queue/a.b", "/topic/a*2Eb", "/temp-topic/00ff"] {
            let destination = Destination::parse(text).unwrap();
            let kind = Address::kind(Value::I8(Address::code(destination.kind())));
            let again = Address::destination(&Address::text(&destination), kind);
            assert_eq!(again, Some(destination));
        }
        assert_eq!(
            Address::kind(Value::String("topic,temporary")),
            Some(DestinationKind::TempTopic)
        );
        assert_eq!(Address::kind(Value::Null), None);
    }
}
