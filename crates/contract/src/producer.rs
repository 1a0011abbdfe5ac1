use std::sync::Arc;

use crate::allocation_bytes;

/// Who numbers the messages that it sends, so that one which is sent again is kept once.
///
/// Each user has names of its own; all who have not logged in are one user.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Producer {
    /// The user that it sends as; empty for one who has not logged in.
    pub user: Arc<str>,
    /// What the sender calls it.
    pub name: Arc<str>,
}

impl Producer {
    /// Bytes that a name may have at most.
    pub const NAME_BYTES_MAX: usize = 128;

    /// Memory of its names, in bytes, were it alone to have them.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        allocation_bytes(self.user.len()) + allocation_bytes(self.name.len())
    }
}

/// The number of a message. A producer gives each new message a greater one than all before, and sends
/// what was not confirmed again under its number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Numbered {
    /// Whose number it is.
    pub producer: Producer,
    /// The number.
    pub sequence: u64,
}

/// Why there is no such [`Numbered`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NumberedError {
    /// One of both is missing.
    #[error("producer-id and producer-seq come together")]
    Half,
    /// The name is empty or too long.
    #[error("producer-id must have 1 to {} bytes", Producer::NAME_BYTES_MAX)]
    Name,
    /// The number is none.
    #[error("producer-seq must be a whole number from 0 to 18446744073709551615, in digits")]
    Sequence,
}

impl Numbered {
    /// What the message of a user, if it has logged in, says of itself; `None`: it has no number.
    ///
    /// # Errors
    /// When the number is not one.
    pub fn parse(
        user: Option<&str>,
        name: Option<&str>,
        sequence: Option<&str>,
    ) -> Result<Option<Self>, NumberedError> {
        let (name, sequence) = match (name, sequence) {
            (None, None) => return Ok(None),
            (Some(name), Some(sequence)) => (name, sequence),
            (Some(_), None) | (None, Some(_)) => return Err(NumberedError::Half),
        };
        if name.is_empty() || name.len() > Producer::NAME_BYTES_MAX {
            return Err(NumberedError::Name);
        }
        let is_number = sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = sequence.parse().ok().filter(|_| is_number);
        let sequence = sequence.ok_or(NumberedError::Sequence)?;
        let producer = Producer { user: user.unwrap_or_default().into(), name: name.into() };
        Ok(Some(Self { producer, sequence }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_or_refused() {
        let long = "x".repeat(Producer::NAME_BYTES_MAX + 1);
        let cases: &[(Option<&str>, Option<&str>, Result<Option<u64>, NumberedError>)] = &[
            (None, None, Ok(None)),
            (Some("p"), Some("0"), Ok(Some(0))),
            (Some(&long[1..]), Some("18446744073709551615"), Ok(Some(u64::MAX))),
            (Some("p"), None, Err(NumberedError::Half)),
            (None, Some("1"), Err(NumberedError::Half)),
            (Some(""), Some("1"), Err(NumberedError::Name)),
            (Some(&long), Some("1"), Err(NumberedError::Name)),
            (Some("p"), Some(""), Err(NumberedError::Sequence)),
            (Some("p"), Some("+1"), Err(NumberedError::Sequence)),
            (Some("p"), Some("-1"), Err(NumberedError::Sequence)),
            (Some("p"), Some("1.0"), Err(NumberedError::Sequence)),
            (Some("p"), Some("18446744073709551616"), Err(NumberedError::Sequence)),
        ];
        for (name, sequence, expected) in cases {
            let parsed = Numbered::parse(Some("ann"), *name, *sequence);
            let parsed = parsed.map(|numbered| numbered.map(|numbered| numbered.sequence));
            assert_eq!(&parsed, expected, "{name:?} {sequence:?}");
        }
    }
}
