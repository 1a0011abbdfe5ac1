//! Lists in headers (RFC 9110 section 5.6).

use http::{HeaderMap, HeaderName};

/// A header's value is not what its grammar says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// The tokens of a comma-separated list, which may be spread over several headers.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Vec<&'a str>, Malformed> {
    let mut tokens = Vec::new();
    for value in headers.get_all(name) {
        for element in value.to_str().map_err(|_| Malformed)?.split(',') {
            match element.trim_matches(BLANK) {
                "" => {}
                token if is_token(token) => tokens.push(token),
                _ => return Err(Malformed),
            }
        }
    }
    Ok(tokens)
}

/// An element of a list with parameters: `name; parameter; parameter=value, …`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Element<'a> {
    pub(crate) name: &'a str,
    pub(crate) parameters: Vec<(&'a str, Option<String>)>,
}

/// The elements of a list with parameters (RFC 6455 section 9.1).
pub(crate) fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Vec<Element<'a>>, Malformed> {
    let mut elements = Vec::new();
    for value in headers.get_all(name) {
        let mut scanner = Scanner { rest: value.to_str().map_err(|_| Malformed)? };
        loop {
            scanner.skip_blank();
            if scanner.rest.is_empty() {
                break;
            }
            if !scanner.skip(',') {
                elements.push(scanner.element()?);
            }
        }
    }
    Ok(elements)
}

/// Whether it is a token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

const BLANK: [char; 2] = [' ', '\t'];

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// An element, up to a comma, which is left, or the end.
    fn element(&mut self) -> Result<Element<'a>, Malformed> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        loop {
            self.skip_blank();
            if self.rest.is_empty() || self.rest.starts_with(',') {
                return Ok(Element { name, parameters });
            }
            if !self.skip(';') {
                return Err(Malformed);
            }
            self.skip_blank();
            let parameter = self.token()?;
            self.skip_blank();
            let value = if self.skip('=') { Some(self.value()?) } else { None };
            parameters.push((parameter, value));
        }
    }

    /// A token, or a quoted string that holds one.
    fn value(&mut self) -> Result<String, Malformed> {
        self.skip_blank();
        if !self.skip('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next() {
                Some('"') if is_token(&value) => {
                    self.rest = characters.as_str();
                    return Ok(value);
                }
                Some('\\') => value.extend(characters.next()),
                Some('"') | None => return Err(Malformed),
                Some(character) => value.push(character),
            }
        }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let end = self.rest.bytes().position(|byte| !is_token_byte(byte));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    fn skip(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start_matches(BLANK);
    }
}
