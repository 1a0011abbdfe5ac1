//! Lists in headers (RFC 9110 section 5.6.1): several lines are one list, empty members are none,
//! and a member that is not what the header's grammar says is passed over, as one that is not known
//! would be.

use http::{HeaderMap, HeaderName};

/// The members of a comma-separated list of tokens. What is no token is `None`.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<&'a str>> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(trim_blank)
        .filter(|member| !member.is_empty())
        .map(|member| str::from_utf8(member).ok().filter(|text| is_token(text)))
}

fn trim_blank(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// An element of a list with parameters: `name; parameter; parameter=value, …`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Element<'a> {
    pub(crate) name: &'a str,
    pub(crate) parameters: Vec<(&'a str, Option<String>)>,
}

/// The well-formed elements of a list with parameters (RFC 6455 section 9.1).
pub(crate) fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<Element<'a>> {
    let mut elements = Vec::new();
    for value in headers.get_all(name) {
        for member in members(value.as_bytes()) {
            let member = str::from_utf8(member).map_err(|_| Malformed);
            elements.extend(member.and_then(|member| Scanner { rest: member }.element()));
        }
    }
    elements
}

/// What stands between the commas. One in a quoted string separates nothing; a string that is not
/// closed goes to the end.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    value.split(move |&byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b'\\' if is_quoted => is_escaped = !was_escaped,
            _ => {}
        }
        byte == b',' && !is_quoted
    })
}

/// An element is not what its grammar says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Malformed;

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
    /// An element, and nothing behind it.
    fn element(&mut self) -> Result<Element<'a>, Malformed> {
        self.skip_blank();
        let name = self.token()?;
        let mut parameters = Vec::new();
        loop {
            self.skip_blank();
            if self.rest.is_empty() {
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
