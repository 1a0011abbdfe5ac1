use crate::{
    Selector,
    error::{Fault, SelectorError},
    expression::{Between, Expression, HeaderField, Kind},
    like::Like,
    token::{Keyword, Token, Tokens},
    value::{Arithmetic, Comparison, Number},
};

/// Parses by recursive descent, a method for each level of precedence:
///
/// ```text
/// any         = all { OR all }
/// all         = not { AND not }
/// not         = NOT not | comparison
/// comparison  = sum [ ("=" | "<>" | "<" | "<=" | ">" | ">=") sum
///                   | [NOT] BETWEEN sum AND sum
///                   | [NOT] IN "(" string { "," string } ")"
///                   | [NOT] LIKE string [ ESCAPE string ]
///                   | IS [NOT] NULL ]
/// sum         = product { ("+" | "-") product }
/// product     = sign { ("*" | "/") sign }
/// sign        = ("+" | "-") sign | primary
/// primary     = "(" any ")" | identifier | literal
/// ```
pub(crate) struct Parser<'t> {
    tokens: Tokens<'t>,
    /// The next token, and where it begins, in bytes.
    token: Token<'t>,
    at: usize,
    depth: usize,
    nodes: usize,
}

/// What compares the expression before it.
enum Operator {
    Comparison(Comparison),
    Is,
    NotBetweenInOrLike,
}

/// What is wrong, and where, in bytes.
type Wrong = (usize, Fault);

impl<'t> Parser<'t> {
    /// Returns the condition that a text is, and how many nodes it has.
    pub(crate) fn parse(text: &'t str) -> Result<(Expression, usize), SelectorError> {
        let parsed = if text.len() > Selector::TEXT_BYTES_MAX {
            Err((text.floor_char_boundary(Selector::TEXT_BYTES_MAX), Fault::TooLong))
        } else {
            Self::whole(text)
        };
        parsed.map_err(|(at, fault)| {
            let before = text.get(..at).unwrap_or(text);
            SelectorError { column: before.chars().count() + 1, fault }
        })
    }

    fn whole(text: &'t str) -> Result<(Expression, usize), Wrong> {
        let tokens = Tokens::new(text);
        let mut parser = Self { tokens, token: Token::End, at: 0, depth: 0, nodes: 0 };
        parser.advance()?;
        if parser.token == Token::End {
            return Err(parser.expected("a condition"));
        }
        let condition = parser.condition(Self::any)?;
        if parser.token == Token::End {
            Ok((condition, parser.nodes))
        } else {
            Err(parser.expected("AND, OR or the end"))
        }
    }

    fn any(&mut self) -> Result<Expression, Wrong> {
        self.list(Keyword::Or, Self::all, Expression::Any)
    }

    fn all(&mut self) -> Result<Expression, Wrong> {
        self.list(Keyword::And, Self::not, Expression::All)
    }

    /// Conditions with a keyword between them, or one expression of any kind.
    fn list(
        &mut self,
        keyword: Keyword,
        parse: fn(&mut Self) -> Result<Expression, Wrong>,
        make: fn(Box<[Expression]>) -> Expression,
    ) -> Result<Expression, Wrong> {
        let at = self.at;
        let first = parse(self)?;
        if self.token != Token::Keyword(keyword) {
            return Ok(first);
        }
        let mut conditions = vec![condition(at, first)?];
        while self.accept(&Token::Keyword(keyword))? {
            self.node()?;
            conditions.push(self.condition(parse)?);
        }
        Ok(make(conditions.into()))
    }

    fn not(&mut self) -> Result<Expression, Wrong> {
        if self.token != Token::Keyword(Keyword::Not) {
            return self.comparison();
        }
        self.nested(|parser| {
            parser.advance()?;
            let condition = parser.condition(Self::not)?;
            Ok(Expression::Not(condition.into()))
        })
    }

    fn comparison(&mut self) -> Result<Expression, Wrong> {
        let at = self.at;
        let left = self.sum()?;
        let Some(operator) = self.operator() else { return Ok(left) };
        let compared = match operator {
            Operator::Comparison(comparison) => self.compare(left, comparison)?,
            Operator::Is => self.is_null(at, left)?,
            Operator::NotBetweenInOrLike => self.between_in_or_like(at, left)?,
        };
        match self.operator() {
            Some(_) => Err((self.at, Fault::Chained)),
            None => Ok(compared),
        }
    }

    /// The comparison operator that is next.
    const fn operator(&self) -> Option<Operator> {
        if let Token::Comparison(comparison) = self.token {
            return Some(Operator::Comparison(comparison));
        }
        let Token::Keyword(keyword) = self.token else { return None };
        match keyword {
            Keyword::Is => Some(Operator::Is),
            Keyword::Not | Keyword::Between | Keyword::In | Keyword::Like => {
                Some(Operator::NotBetweenInOrLike)
            }
            Keyword::And
            | Keyword::Escape
            | Keyword::False
            | Keyword::Null
            | Keyword::Or
            | Keyword::True => None,
        }
    }

    fn compare(&mut self, left: Expression, comparison: Comparison) -> Result<Expression, Wrong> {
        let at = self.at;
        self.node()?;
        self.advance()?;
        let right = self.sum()?;
        let has_order = |one: &Expression| matches!(one.kind(), Kind::Number | Kind::Identifier);
        if comparison.is_of_order() && !(has_order(&left) && has_order(&right)) {
            return Err((at, Fault::Unordered));
        }
        Ok(Expression::Compare(comparison, [left, right].into()))
    }

    fn is_null(&mut self, at: usize, left: Expression) -> Result<Expression, Wrong> {
        let identifier = identifier(at, left)?;
        self.node()?;
        self.advance()?;
        let is_not = self.accept(&Token::Keyword(Keyword::Not))?;
        self.expect(&Token::Keyword(Keyword::Null), "NULL or NOT NULL after IS")?;
        Ok(negated(is_not, Expression::IsNull(identifier)))
    }

    fn between_in_or_like(&mut self, at: usize, left: Expression) -> Result<Expression, Wrong> {
        self.node()?;
        let is_not = self.accept(&Token::Keyword(Keyword::Not))?;
        if self.accept(&Token::Keyword(Keyword::Between))? {
            let value = number(at, left)?;
            let low = self.number(Self::sum)?;
            self.expect(&Token::Keyword(Keyword::And), "AND between the bounds of BETWEEN")?;
            let high = self.number(Self::sum)?;
            let between = if is_not { Between::Outside } else { Between::Within };
            return Ok(Expression::Between(between, [value, low, high].into()));
        }
        if self.accept(&Token::Keyword(Keyword::In))? {
            let identifier = identifier(at, left)?;
            return Ok(negated(is_not, Expression::In(identifier, self.strings()?)));
        }
        self.expect(&Token::Keyword(Keyword::Like), "BETWEEN, IN or LIKE after NOT")?;
        let identifier = identifier(at, left)?;
        Ok(negated(is_not, Expression::Like(identifier, self.pattern()?.into())))
    }

    /// The list of an IN, sorted.
    fn strings(&mut self) -> Result<Box<[Box<str>]>, Wrong> {
        self.expect(&Token::Open, "( after IN")?;
        let mut strings = Vec::new();
        loop {
            let (_, string) = self.string("a string in the list of IN")?;
            strings.push(string);
            if !self.accept(&Token::Comma)? {
                break;
            }
        }
        self.expect(&Token::Close, ", or ) in the list of IN")?;
        strings.sort_unstable();
        strings.dedup();
        Ok(strings.into())
    }

    fn pattern(&mut self) -> Result<Like, Wrong> {
        let (at, pattern) = self.string("a string after LIKE")?;
        let mut escape = None;
        if self.accept(&Token::Keyword(Keyword::Escape))? {
            let (at, string) = self.string("a string after ESCAPE")?;
            let mut chars = string.chars();
            escape = chars.next().filter(|_| chars.as_str().is_empty());
            if escape.is_none() {
                return Err((at, Fault::EscapeLength));
            }
        }
        Like::parse(&pattern, escape).map_err(|fault| (at, fault))
    }

    fn sum(&mut self) -> Result<Expression, Wrong> {
        self.arithmetic([Arithmetic::Add, Arithmetic::Subtract], Self::product)
    }

    fn product(&mut self) -> Result<Expression, Wrong> {
        self.arithmetic([Arithmetic::Multiply, Arithmetic::Divide], Self::sign)
    }

    /// Numbers with operations between them, or one expression of any kind.
    fn arithmetic(
        &mut self,
        operations: [Arithmetic; 2],
        parse: fn(&mut Self) -> Result<Expression, Wrong>,
    ) -> Result<Expression, Wrong> {
        let at = self.at;
        let mut first = parse(self)?;
        let mut rest = Vec::new();
        while let Token::Arithmetic(operation) = self.token
            && operations.contains(&operation)
        {
            first = number(at, first)?;
            self.node()?;
            self.advance()?;
            rest.push((operation, self.number(parse)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expression::Arithmetic(first.into(), rest.into()))
    }

    fn sign(&mut self) -> Result<Expression, Wrong> {
        let Token::Arithmetic(sign) = self.token else { return self.primary() };
        let make = match sign {
            Arithmetic::Add => Expression::Positive,
            Arithmetic::Subtract => Expression::Negative,
            Arithmetic::Multiply | Arithmetic::Divide => return self.primary(),
        };
        self.nested(|parser| {
            parser.advance()?;
            if sign == Arithmetic::Subtract
                && let Token::Decimal(digits) = parser.token
            {
                parser.advance()?;
                // In range: the digits are 2^63 at most.
                let literal = Number::Integer(0_i64.wrapping_sub_unsigned(digits));
                return Ok(Expression::Number(literal));
            }
            Ok(make(parser.number(Self::sign)?.into()))
        })
    }

    fn primary(&mut self) -> Result<Expression, Wrong> {
        let at = self.at;
        if self.token == Token::Open {
            return self.nested(|parser| {
                parser.advance()?;
                let inner = parser.any()?;
                parser.expect(&Token::Close, ")")?;
                Ok(inner)
            });
        }
        self.node()?;
        let primary = match std::mem::replace(&mut self.token, Token::End) {
            Token::Identifier(name) => named(at, name)?,
            Token::String(text) => Expression::String(text.into()),
            Token::Number(number) => Expression::Number(number),
            Token::Decimal(digits) => {
                let digits = i64::try_from(digits).map_err(|_| (at, Fault::NumberRange))?;
                Expression::Number(Number::Integer(digits))
            }
            Token::Keyword(Keyword::True) => Expression::Bool(true),
            Token::Keyword(Keyword::False) => Expression::Bool(false),
            Token::Keyword(Keyword::Null) => return Err((at, Fault::NullOperand)),
            Token::Keyword(_)
            | Token::Comparison(_)
            | Token::Arithmetic(_)
            | Token::Open
            | Token::Close
            | Token::Comma
            | Token::End => return Err((at, Fault::Expected("a name or a value"))),
        };
        self.advance()?;
        Ok(primary)
    }

    fn condition(
        &mut self,
        parse: fn(&mut Self) -> Result<Expression, Wrong>,
    ) -> Result<Expression, Wrong> {
        let at = self.at;
        condition(at, parse(self)?)
    }

    fn number(
        &mut self,
        parse: fn(&mut Self) -> Result<Expression, Wrong>,
    ) -> Result<Expression, Wrong> {
        let at = self.at;
        number(at, parse(self)?)
    }

    /// The next token, which must be a string, and where it begins.
    fn string(&mut self, expected: &'static str) -> Result<(usize, Box<str>), Wrong> {
        let Token::String(string) = &mut self.token else { return Err(self.expected(expected)) };
        let (at, string) = (self.at, std::mem::take(string).into());
        self.advance()?;
        Ok((at, string))
    }

    fn expect(&mut self, token: &Token<'_>, expected: &'static str) -> Result<(), Wrong> {
        if self.accept(token)? { Ok(()) } else { Err(self.expected(expected)) }
    }

    const fn expected(&self, expected: &'static str) -> Wrong {
        (self.at, Fault::Expected(expected))
    }

    /// Passes this token if it is the next one.
    fn accept(&mut self, token: &Token<'_>) -> Result<bool, Wrong> {
        let is_next = self.token == *token;
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn advance(&mut self) -> Result<(), Wrong> {
        self.at = self.tokens.skip_blanks();
        self.token = self.tokens.next().map_err(|fault| (self.at, fault))?;
        Ok(())
    }

    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Expression, Wrong>,
    ) -> Result<Expression, Wrong> {
        if self.depth >= Selector::DEPTH_MAX {
            return Err((self.at, Fault::TooDeep));
        }
        self.node()?;
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    const fn node(&mut self) -> Result<(), Wrong> {
        if self.nodes >= Selector::NODES_MAX {
            return Err((self.at, Fault::TooLarge));
        }
        self.nodes += 1;
        Ok(())
    }
}

fn condition(at: usize, expression: Expression) -> Result<Expression, Wrong> {
    match expression.kind() {
        Kind::Condition | Kind::Identifier => Ok(expression),
        Kind::Number | Kind::String => Err((at, Fault::NotCondition)),
    }
}

fn number(at: usize, expression: Expression) -> Result<Expression, Wrong> {
    match expression.kind() {
        Kind::Number | Kind::Identifier => Ok(expression),
        Kind::Condition | Kind::String => Err((at, Fault::NotNumber)),
    }
}

fn identifier(at: usize, expression: Expression) -> Result<Box<Expression>, Wrong> {
    match expression.kind() {
        Kind::Identifier => Ok(expression.into()),
        Kind::Condition | Kind::Number | Kind::String => Err((at, Fault::NotIdentifier)),
    }
}

fn negated(is_not: bool, condition: Expression) -> Expression {
    if is_not { Expression::Not(condition.into()) } else { condition }
}

fn named(at: usize, name: &str) -> Result<Expression, Wrong> {
    match HeaderField::of(name) {
        Some(field) => Ok(Expression::Header(field)),
        None if is_reserved(name) => Err((at, Fault::UnknownHeader)),
        None => Ok(Expression::Property(name.into())),
    }
}

/// Names that begin with JMS belong to headers, but for two kinds of properties.
fn is_reserved(name: &str) -> bool {
    name.strip_prefix("JMS").is_some_and(|rest| !rest.starts_with(['X', '_']))
}
