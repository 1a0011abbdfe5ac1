use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use contract::{Credentials, Secret};
use zeroize::Zeroizing;

/// Why an `Authorization` header has no name and password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BasicError {
    /// Not `Basic`.
    #[error("the authentication scheme is not Basic")]
    Scheme,
    /// Not base64.
    #[error("the credentials are not base64")]
    Base64,
    /// Not UTF-8.
    #[error("the credentials are not UTF-8")]
    Utf8,
    /// No colon between name and password.
    #[error("the credentials have no colon")]
    Colon,
}

/// Reads the value of an `Authorization` header of the scheme Basic (RFC 7617), in UTF-8.
///
/// # Errors
/// When it is of another scheme or malformed.
pub fn basic(value: &[u8]) -> Result<Credentials, BasicError> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at_checked("Basic".len()).ok_or(BasicError::Scheme)?;
    if !scheme.eq_ignore_ascii_case(b"Basic") || !rest.starts_with(b" ") {
        return Err(BasicError::Scheme);
    }
    let decoded = Zeroizing::new(BASE64.decode(rest.trim_ascii()).map_err(|_| BasicError::Base64)?);
    let text = str::from_utf8(&decoded).map_err(|_| BasicError::Utf8)?;
    let (name, password) = text.split_once(':').ok_or(BasicError::Colon)?;
    Ok(Credentials { name: name.into(), password: Secret::new(password) })
}

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_a_user_or_say_why_not() {
        type Expected = Result<(&'static str, &'static str), BasicError>;
        let cases: &[(&str, &[u8], Expected)] = &[
            (
                "the RFC's example",
                b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
                Ok(("Aladdin", "open sesame")),
            ),
            ("its example in UTF-8", b"Basic dGVzdDoxMjPCow==", Ok(("test", "123\u{a3}"))),
            ("the scheme has no case", b"bAsIc YTpi", Ok(("a", "b"))),
            ("spaces around", b" Basic   YTpi ", Ok(("a", "b"))),
            ("no padding", b"Basic YTpiYw", Ok(("a", "bc"))),
            ("colons in the password", b"Basic YTpiOmM=", Ok(("a", "b:c"))),
            ("both empty", b"Basic Og==", Ok(("", ""))),
            ("another scheme", b"Bearer YTpi", Err(BasicError::Scheme)),
            ("a longer scheme", b"Basically YTpi", Err(BasicError::Scheme)),
            ("no header", b"", Err(BasicError::Scheme)),
            ("no credentials", b"Basic", Err(BasicError::Scheme)),
            ("no base64", b"Basic a:b", Err(BasicError::Base64)),
            ("URL-safe base64", b"Basic __9-", Err(BasicError::Base64)),
            ("two words", b"Basic YTpi YTpi", Err(BasicError::Base64)),
            ("Latin-1", b"Basic dGVzdDqj", Err(BasicError::Utf8)),
            ("no colon", b"Basic YWJj", Err(BasicError::Colon)),
        ];
        for (rule, value, expected) in cases {
            let actual = basic(value);
            let actual = actual.as_ref().map(|c| (&*c.name, c.password.expose()));
            assert_eq!(actual, expected.as_ref().map(|&e| e), "{rule}");
        }
    }
}
