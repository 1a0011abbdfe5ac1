use std::borrow::Cow;

use crate::{
    error::Fault,
    value::{Arithmetic, Comparison, Number},
};

/// A part of a selector's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'t> {
    Identifier(&'t str),
    Keyword(Keyword),
    String(Cow<'t, str>),
    /// The digits of a decimal integer, up to 2^63, which fits behind a minus alone.
    Decimal(u64),
    Number(Number),
    Comparison(Comparison),
    Arithmetic(Arithmetic),
    Open,
    Close,
    Comma,
    End,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keyword {
    And,
    Between,
    Escape,
    False,
    In,
    Is,
    Like,
    Not,
    Null,
    Or,
    True,
}

/// Reads one token after the other.
#[derive(Debug)]
pub(crate) struct Tokens<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Tokens<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, rest: text }
    }

    /// The position of the next token, in bytes.
    pub(crate) fn skip_blanks(&mut self) -> usize {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\x0c', '\n', '\r']);
        self.text.len() - self.rest.len()
    }

    pub(crate) fn next(&mut self) -> Result<Token<'t>, Fault> {
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else { return Ok(Token::End) };
        let behind = chars.as_str();
        let (token, rest) = match first {
            '(' => (Token::Open, behind),
            ')' => (Token::Close, behind),
            ',' => (Token::Comma, behind),
            '+' => (Token::Arithmetic(Arithmetic::Add), behind),
            '-' => (Token::Arithmetic(Arithmetic::Subtract), behind),
            '*' => (Token::Arithmetic(Arithmetic::Multiply), behind),
            '/' => (Token::Arithmetic(Arithmetic::Divide), behind),
            '=' if behind.starts_with('=') => return Err(Fault::UnknownOperator),
            '=' => (Token::Comparison(Comparison::Equal), behind),
            '<' | '>' => {
                let (comparison, rest) = order(first, behind);
                (Token::Comparison(comparison), rest)
            }
            '!' if behind.starts_with('=') => return Err(Fault::UnknownOperator),
            '"' => return Err(Fault::DoubleQuote),
            '\'' => {
                let (string, rest) = string(behind).ok_or(Fault::UnterminatedString)?;
                (Token::String(string), rest)
            }
            '.' if !behind.starts_with(|c: char| c.is_ascii_digit()) => {
                return Err(Fault::Character(first));
            }
            '0'..='9' | '.' => {
                let (literal, rest) = split(self.rest, number_end(self.rest));
                (number(literal)?, rest)
            }
            _ if is_identifier_start(first) => {
                let end = self.rest.find(|c| !is_identifier_part(c)).unwrap_or(self.rest.len());
                let (word, rest) = split(self.rest, end);
                (Keyword::of(word).map_or(Token::Identifier(word), Token::Keyword), rest)
            }
            _ => return Err(Fault::Character(first)),
        };
        self.rest = rest;
        Ok(token)
    }
}

impl Keyword {
    fn of(word: &str) -> Option<Self> {
        let is = |(keyword, _): &&(&str, Self)| word.eq_ignore_ascii_case(keyword);
        KEYWORDS.iter().find(is).map(|(_, keyword)| *keyword)
    }
}

fn order(first: char, behind: &str) -> (Comparison, &str) {
    let is_less = first == '<';
    if let Some(rest) = behind.strip_prefix('=') {
        let comparison = if is_less { Comparison::LessOrEqual } else { Comparison::GreaterOrEqual };
        return (comparison, rest);
    }
    match behind.strip_prefix('>') {
        Some(rest) if is_less => (Comparison::NotEqual, rest),
        _ if is_less => (Comparison::Less, behind),
        _ => (Comparison::Greater, behind),
    }
}

/// The string that ends at the first quote that is not doubled, and what follows it.
fn string(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut end = text.find('\'')?;
    let mut has_quotes = false;
    while text.get(end + 1..)?.starts_with('\'') {
        has_quotes = true;
        end += 2;
        end += text.get(end..)?.find('\'')?;
    }
    let (string, rest) = (text.get(..end)?, text.get(end + 1..)?);
    let string = if has_quotes { string.replace("''", "'").into() } else { string.into() };
    Some((string, rest))
}

/// Where the number that a text begins with ends, together with what may not follow it.
fn number_end(text: &str) -> usize {
    let is_hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let mut last = ' ';
    let is_behind = |char: char| {
        let is_sign = matches!(char, '+' | '-') && matches!(last, 'e' | 'E') && !is_hexadecimal;
        last = char;
        !(is_sign || char == '.' || is_identifier_part(char))
    };
    text.find(is_behind).unwrap_or(text.len())
}

/// A literal as in Java (JLS 3.10.1, 3.10.2).
fn number(literal: &str) -> Result<Token<'static>, Fault> {
    let prefixed = |prefixes: [&str; 2]| prefixes.iter().find_map(|p| literal.strip_prefix(p));
    if let Some(digits) = prefixed(["0x", "0X"]) {
        return integer(digits, 16).map(Token::Number);
    }
    if let Some(digits) = prefixed(["0b", "0B"]) {
        return integer(digits, 2).map(Token::Number);
    }
    let digits = literal.strip_suffix(['l', 'L']).unwrap_or(literal);
    if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return if digits.len() > 1 && digits.starts_with('0') {
            integer(digits, 8).map(Token::Number)
        } else {
            decimal(digits).map(Token::Decimal)
        };
    }
    floating_point(literal).map(Token::Number)
}

/// The 64 bits that digits of a base stand for.
fn integer(digits: &str, radix: u32) -> Result<Number, Fault> {
    let digits = digits.strip_suffix(['l', 'L']).unwrap_or(digits);
    let digits = joined(digits, radix)?;
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Fault::MalformedNumber);
    }
    let bits = u64::from_str_radix(&digits, radix).map_err(|_| Fault::NumberRange)?;
    Ok(Number::Integer(bits.cast_signed()))
}

fn decimal(digits: &str) -> Result<u64, Fault> {
    let digits = joined(digits, 10)?.parse().ok();
    digits.filter(|digits| *digits <= i64::MIN.unsigned_abs()).ok_or(Fault::NumberRange)
}

fn floating_point(literal: &str) -> Result<Number, Fault> {
    let (digits, is_float) = match literal.strip_suffix(['f', 'F']) {
        Some(digits) => (digits, true),
        None => (literal.strip_suffix(['d', 'D']).unwrap_or(literal), false),
    };
    let digits = joined(digits, 10)?;
    let (mantissa, _) = digits.split_once(['e', 'E']).unwrap_or((&digits, ""));
    let is_zero = !mantissa.contains(|c: char| matches!(c, '1'..='9'));
    let number = if is_float {
        digits.parse().ok().map(|float: f32| (Number::Float(float), float.into()))
    } else {
        digits.parse().ok().map(|double: f64| (Number::Double(double), double))
    };
    let (number, value): (Number, f64) = number.ok_or(Fault::MalformedNumber)?;
    if value.is_finite() && (is_zero || value != 0.0) {
        Ok(number)
    } else {
        Err(Fault::NumberRange)
    }
}

/// The digits without the underscores between them.
fn joined(digits: &str, radix: u32) -> Result<Cow<'_, str>, Fault> {
    if !digits.contains('_') {
        return Ok(digits.into());
    }
    let is_digit = |byte: &u8| *byte == b'_' || char::from(*byte).is_digit(radix);
    let is_inside = !digits.starts_with('_') && !digits.ends_with('_');
    let mut pairs = digits.as_bytes().windows(2);
    if is_inside && pairs.all(|pair| !pair.contains(&b'_') || pair.iter().all(is_digit)) {
        Ok(digits.replace('_', "").into())
    } else {
        Err(Fault::MalformedNumber)
    }
}

/// `Character.isJavaIdentifierStart`: letters, `_` and other connectors, `$` and other currencies.
fn is_identifier_start(char: char) -> bool {
    unicode_ident::is_xid_start(char) || CONNECTORS.contains(&char) || is_currency(char)
}

/// `Character.isJavaIdentifierPart`, but for invisible characters.
fn is_identifier_part(char: char) -> bool {
    unicode_ident::is_xid_continue(char) || is_currency(char)
}

fn is_currency(char: char) -> bool {
    CURRENCIES.iter().any(|(first, last)| (*first..=*last).contains(&char))
}

/// A text at a boundary of its characters.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

const KEYWORDS: [(&str, Keyword); 11] = [
    ("AND", Keyword::And),
    ("BETWEEN", Keyword::Between),
    ("ESCAPE", Keyword::Escape),
    ("FALSE", Keyword::False),
    ("IN", Keyword::In),
    ("IS", Keyword::Is),
    ("LIKE", Keyword::Like),
    ("NOT", Keyword::Not),
    ("NULL", Keyword::Null),
    ("OR", Keyword::Or),
    ("TRUE", Keyword::True),
];

/// Unicode's connector punctuation (Pc).
const CONNECTORS: [char; 10] = [
    '_', '\u{203f}', '\u{2040}', '\u{2054}', '\u{fe33}', '\u{fe34}', '\u{fe4d}', '\u{fe4e}',
    '\u{fe4f}', '\u{ff3f}',
];

/// Unicode's currency symbols (Sc), as of 14.0.
const CURRENCIES: [(char, char); 21] = [
    ('$', '$'),
    ('\u{a2}', '\u{a5}'),
    ('\u{58f}', '\u{58f}'),
    ('\u{60b}', '\u{60b}'),
    ('\u{7fe}', '\u{7ff}'),
    ('\u{9f2}', '\u{9f3}'),
    ('\u{9fb}', '\u{9fb}'),
    ('\u{af1}', '\u{af1}'),
    ('\u{bf9}', '\u{bf9}'),
    ('\u{e3f}', '\u{e3f}'),
    ('\u{17db}', '\u{17db}'),
    ('\u{20a0}', '\u{20c0}'),
    ('\u{a838}', '\u{a838}'),
    ('\u{fdfc}', '\u{fdfc}'),
    ('\u{fe69}', '\u{fe69}'),
    ('\u{ff04}', '\u{ff04}'),
    ('\u{ffe0}', '\u{ffe1}'),
    ('\u{ffe5}', '\u{ffe6}'),
    ('\u{11fdd}', '\u{11fe0}'),
    ('\u{1e2ff}', '\u{1e2ff}'),
    ('\u{1ecb0}', '\u{1ecb0}'),
];
