//! The terms of a durable subscription, as the log contains them.

use std::sync::Arc;

use broker::Terms;
use contract::{Pattern, Selector, Strings};
use wire::Reader;

pub(crate) fn write(buffer: &mut Vec<u8>, terms: &Terms) {
    let selector = terms.selector.as_deref();
    let mut flags = if terms.is_shared { SHARED } else { 0 };
    flags |= if terms.no_local { NO_LOCAL } else { 0 };
    if let Some(selector) = selector {
        flags |= SELECTS;
        flags |= if selector.strings() == Strings::Coerced { COERCED } else { 0 };
    }
    buffer.push(flags);
    write_text(buffer, &terms.pattern.to_string());
    write_text(buffer, selector.map_or("", Selector::text));
}

/// Reads some; `None`: they are none that this version knows.
pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Terms> {
    let flags = reader.u8()?;
    let pattern = Pattern::parse(read_text(reader)?).ok()?;
    let text = read_text(reader)?;
    let strings = if flags & COERCED > 0 { Strings::Coerced } else { Strings::Strict };
    let selector = if flags & SELECTS > 0 {
        Some(Arc::new(Selector::parse(text, strings).ok()?))
    } else {
        None
    };
    let (is_shared, no_local) = (flags & SHARED > 0, flags & NO_LOCAL > 0);
    Some(Terms { pattern, selector, is_shared, no_local })
}

fn write_text(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    buffer.extend(text.as_bytes());
}

fn read_text<'b>(reader: &mut Reader<'b>) -> Option<&'b str> {
    let bytes = reader.u32()?;
    str::from_utf8(reader.take(usize::try_from(bytes).ok()?)?).ok()
}

const SHARED: u8 = 1;
const NO_LOCAL: u8 = 2;
const SELECTS: u8 = 4;
const COERCED: u8 = 8;
