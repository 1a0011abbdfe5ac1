//! What a link is attached to: its source and its target (part 3, section 3.5).
#![expect(clippy::wildcard_enum_match_arm, reason = "the types of AMQP are complete")]

use std::sync::Arc;

use amqp_types::{Descriptor, Items, TypeError, Value, Writer, read};
use contract::{Address, Destination, DestinationKind, Pattern, Selector, Strings};
use wire::Reader;

use crate::{
    codes,
    error::{AmqpError, DECODE_ERROR, INVALID_FIELD, NOT_IMPLEMENTED},
    outcome::Verdict,
    performative::{composite, map},
};

/// A source, or a target of a message.
#[derive(Debug, Default)]
pub(crate) struct Terminus<'a> {
    is_source: bool,
    /// Its fields, encoded.
    fields: [Option<&'a [u8]>; 11],
    pub(crate) address: Option<&'a str>,
    /// More than its settings survive the link.
    pub(crate) is_durable: bool,
    pub(crate) is_dynamic: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) is_copy: bool,
    filter: Option<Items<'a>>,
    pub(crate) default_outcome: Option<Verdict>,
}

/// What a target is.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    /// With what it is to be capable of.
    Coordinator(Value<'a>),
    Node(Box<Terminus<'a>>),
}

/// What kind of node a terminus wants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Capabilities {
    pub(crate) kind: Option<DestinationKind>,
    pub(crate) is_shared: bool,
    pub(crate) is_global: bool,
}

/// What a source's filter says.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) selector: Option<Arc<Selector>>,
    pub(crate) no_local: bool,
    /// Those that are not known, which are not applied.
    is_partial: bool,
}

impl<'a> Terminus<'a> {
    /// A source; `None`: there is none.
    pub(crate) fn source(encoded: Option<&'a [u8]>) -> Result<Option<Self>, AmqpError> {
        let Some(encoded) = encoded else { return Ok(None) };
        match composite(encoded) {
            Ok((Some(codes::SOURCE), fields)) => Self::read(true, fields).map(Some).map_err(bad),
            Ok(_) => Err(AmqpError::new(NOT_IMPLEMENTED, "a source of another type")),
            Err(error) => Err(bad(error)),
        }
    }

    fn read(is_source: bool, mut from: amqp_types::Fields<'a>) -> Result<Self, TypeError> {
        let mut fields = [None; 11];
        let count = if is_source { 11 } else { 7 };
        for field in fields.iter_mut().take(count) {
            *field = from.encoded()?;
        }
        let value = |index: usize| match fields.get(index).copied().flatten() {
            Some(encoded) => read(&mut Reader::new(encoded)),
            None => Ok(Value::Null),
        };
        let address = match value(0)? {
            Value::Null => None,
            Value::String(address) => Some(address),
            _ => return Err(TypeError::Field),
        };
        let is_durable = matches!(value(1)?, Value::U32(1..));
        let is_dynamic = value(4)? == Value::Bool(true);
        let capabilities = Capabilities::read(value(if is_source { 10 } else { 6 })?);
        let mut terminus = Self {
            is_source,
            fields,
            address,
            is_durable,
            is_dynamic,
            capabilities,
            ..Self::default()
        };
        if is_source {
            terminus.is_copy = value(6)?.text() == Some("copy");
            terminus.filter = map(fields.get(7).copied().flatten())?;
            let default = fields.get(8).copied().flatten();
            terminus.default_outcome = default.map(Verdict::of).transpose()?.flatten();
        }
        Ok(terminus)
    }

    /// The pattern of its address.
    pub(crate) fn pattern(&self) -> Result<Pattern, AmqpError> {
        let address = self.address.unwrap_or_default();
        Address::pattern(address, self.capabilities.kind)
            .map_err(|error| AmqpError::new(INVALID_FIELD, format!("{address:?}: {error}")))
    }

    /// What its filter says.
    pub(crate) fn filter(&self) -> Result<Filter, AmqpError> {
        let mut filter = Filter::default();
        for (key, value) in self.filter.into_iter().flat_map(Items::pairs) {
            let (descriptor, value) = match value {
                Value::Described(descriptor, inner) => {
                    (Some(descriptor), read(&mut Reader::new(inner)).map_err(bad)?)
                }
                other => (None, other),
            };
            match (descriptor, value) {
                (Some(Descriptor::Code(SELECTOR) | Descriptor::Symbol(SELECTOR_SYMBOL)), text)
                | (None, text @ Value::String(_))
                    if descriptor.is_some() || key.text() == Some(SELECTOR_KEY) =>
                {
                    let text = text.text().ok_or_else(|| bad(TypeError::Field))?;
                    if !text.trim().is_empty() {
                        let selector = Selector::parse(text, Strings::Strict).map_err(|error| {
                            AmqpError::new(INVALID_FIELD, format!("jms-selector, {error}"))
                        })?;
                        filter.selector = Some(Arc::new(selector));
                    }
                }
                (Some(Descriptor::Code(NO_LOCAL) | Descriptor::Symbol(NO_LOCAL_SYMBOL)), _) => {
                    filter.no_local = true;
                }
                _ => filter.is_partial = true,
            }
        }
        Ok(filter)
    }

    /// Writes it as the peer said it, but with what is done: the address that it has now, and of the
    /// filters those that are applied.
    pub(crate) fn write(&self, to: &mut Writer<'_>, address: Option<&str>, filter: &Filter) {
        let code = if self.is_source { codes::SOURCE } else { codes::TARGET };
        to.composite(code, |to| {
            for (index, field) in self.fields.iter().enumerate() {
                match (index, address) {
                    (0, Some(address)) => to.string(address),
                    (7, _) if self.is_source && filter.is_partial => self.write_filter(to),
                    _ => to.encoded(*field),
                }
            }
        });
    }

    fn write_filter(&self, to: &mut Writer<'_>) {
        to.map(|to| {
            for (key, value) in self.filter.into_iter().flat_map(Items::pairs) {
                let (Some(key), Value::Described(descriptor, inner)) = (key.text(), value) else {
                    continue;
                };
                let code = match descriptor {
                    Descriptor::Code(SELECTOR) | Descriptor::Symbol(SELECTOR_SYMBOL) => SELECTOR,
                    Descriptor::Code(NO_LOCAL) | Descriptor::Symbol(NO_LOCAL_SYMBOL) => NO_LOCAL,
                    _ => continue,
                };
                to.symbol(key);
                let mut described = vec![0, 0x80];
                described.extend(code.to_be_bytes());
                described.extend_from_slice(inner);
                to.encoded(Some(&described));
            }
        });
    }
}

impl<'a> Target<'a> {
    /// `None`: there is none.
    pub(crate) fn read(encoded: Option<&'a [u8]>) -> Result<Option<Self>, AmqpError> {
        let Some(encoded) = encoded else { return Ok(None) };
        match composite(encoded) {
            Ok((Some(codes::TARGET), fields)) => Terminus::read(false, fields)
                .map(|one| Some(Self::Node(Box::new(one))))
                .map_err(bad),
            Ok((Some(codes::COORDINATOR), mut fields)) => {
                fields.value().map(|desired| Some(Self::Coordinator(desired))).map_err(bad)
            }
            Ok(_) => Err(AmqpError::new(NOT_IMPLEMENTED, "a target of another type")),
            Err(error) => Err(bad(error)),
        }
    }
}

impl Capabilities {
    fn read(value: Value<'_>) -> Self {
        let mut read = Self::default();
        for symbol in value.symbols() {
            match symbol {
                "queue" => read.kind = Some(DestinationKind::Queue),
                "topic" => read.kind = Some(DestinationKind::Topic),
                "temporary-queue" => read.kind = Some(DestinationKind::TempQueue),
                "temporary-topic" => read.kind = Some(DestinationKind::TempTopic),
                "shared" => read.is_shared = true,
                "global" => read.is_global = true,
                _ => {}
            }
        }
        read
    }

    /// The kind of a node that is made for a link.
    pub(crate) const fn temporary(self) -> DestinationKind {
        match self.kind {
            Some(DestinationKind::Topic | DestinationKind::TempTopic) => DestinationKind::TempTopic,
            Some(DestinationKind::Queue | DestinationKind::TempQueue) | None => {
                DestinationKind::TempQueue
            }
        }
    }
}

/// The one destination of a pattern that a message is sent to.
pub(crate) fn destination(pattern: &Pattern) -> Result<Destination, AmqpError> {
    pattern.destination().cloned().ok_or_else(|| {
        AmqpError::new(INVALID_FIELD, "messages are sent to one destination: no wildcards")
    })
}

fn bad(error: TypeError) -> AmqpError {
    AmqpError::new(DECODE_ERROR, format!("the source or target: {error}"))
}

const SELECTOR: u64 = 0x0000_468c_0000_0004;
const SELECTOR_SYMBOL: &str = "apache.org:selector-filter:string";
const SELECTOR_KEY: &str = "jms-selector";
const NO_LOCAL: u64 = 0x0000_468c_0000_0003;
const NO_LOCAL_SYMBOL: &str = "apache.org:no-local-filter:list";

/// A coordinator that is capable of what it can be of what is desired (part 4, section 4.5.7).
pub(crate) fn write_coordinator(to: &mut Writer<'_>, desired: Value<'_>) {
    let capable: Vec<_> =
        desired.symbols().filter(|one| COORDINATOR_CAPABILITIES.contains(one)).collect();
    to.composite(codes::COORDINATOR, |fields| fields.symbols(&capable));
}

const COORDINATOR_CAPABILITIES: [&str; 3] =
    ["amqp:local-transactions", "amqp:multi-txns-per-ssn", "amqp:multi-ssns-per-txn"];
