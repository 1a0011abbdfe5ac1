use std::sync::Arc;

use contract::{
    Destination, DestinationError, DestinationKind, Level, Pattern, Principal, Refusal,
};

/// Who may subscribe to what and send to what. Cheap to clone.
///
/// Without rules everybody may everything. With rules the first whose scope holds a destination
/// decides about it, and a destination in no rule is for nobody. Temporary destinations are
/// outside the rules: only their owner subscribes, and who knows the name may send.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access(Arc<[Rule]>);

/// Who may what on the destinations of a scope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The destinations that it decides about.
    pub scope: Scope,
    /// Who may subscribe.
    pub subscribe: Vec<Grant>,
    /// Who may send.
    pub send: Vec<Grant>,
}

/// Whom a rule lets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Grant {
    /// `*`: everybody, logged in or not.
    Everybody,
    /// `user:*`: everybody who logged in.
    Users,
    /// `user:NAME`.
    User(Box<str>),
    /// `role:NAME`: every user with that role.
    Role(Box<str>),
}

/// The destinations of a rule: one, all (`>`), or many by wildcards, which stand for levels as
/// they do in a [`Pattern`], but in the names of queues too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    text: Box<str>,
    /// `None`: every destination.
    kind: Option<DestinationKind>,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// No destination, and no pattern of destinations.
    #[error("{0}; a rule's destination may also be > for all")]
    Destination(DestinationError),
    /// A wildcard inside a word, or a `>` or `#` that is not last.
    #[error("a wildcard stands for whole levels: * for one, > or # at the end for the rest")]
    Wildcard,
    /// A temporary destination.
    #[error(
        "rules are not about temporary destinations: only their owner subscribes, and who knows \
         the name may send"
    )]
    Temporary,
    /// Not one of the four forms.
    #[error("expected `*`, `user:*`, `user:NAME` or `role:NAME`")]
    Grant,
}

impl Access {
    /// These rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into())
    }

    /// Whether everybody may everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Whether somebody may send there.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] when not.
    pub fn may_send(&self, who: &Principal, destination: &Destination) -> Result<(), Refusal> {
        if self.is_open() || destination.kind().is_temporary() {
            return Ok(());
        }
        let rule = self.0.iter().find(|rule| rule.scope.holds(destination));
        allow(rule.is_some_and(|rule| rule.send.iter().any(|grant| grant.is_for(who))))
    }

    /// Whether somebody may subscribe there: to every destination that the pattern matches.
    ///
    /// A pattern with wildcards must lie within one rule that allows it, and overlap none before
    /// that denies it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] when not.
    pub fn may_subscribe(&self, who: &Principal, pattern: &Pattern) -> Result<(), Refusal> {
        if self.is_open() || pattern.kind().is_temporary() {
            return Ok(());
        }
        for rule in self.0.iter().filter(|rule| rule.scope.overlaps(pattern)) {
            if !rule.subscribe.iter().any(|grant| grant.is_for(who)) {
                return Err(Refusal::Forbidden);
            }
            if rule.scope.covers(pattern) {
                return Ok(());
            }
        }
        Err(Refusal::Forbidden)
    }
}

impl Grant {
    /// Reads the text form.
    ///
    /// # Errors
    /// When it has none of the four forms.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        match text.split_once(':') {
            None if text == "*" => Ok(Self::Everybody),
            Some(("user", "*")) => Ok(Self::Users),
            Some(("user", name)) if !name.is_empty() => Ok(Self::User(name.into())),
            Some(("role", name)) if !name.is_empty() => Ok(Self::Role(name.into())),
            _ => Err(RuleError::Grant),
        }
    }

    fn is_for(&self, who: &Principal) -> bool {
        let logged_in = &*who.name != "anonymous";
        match self {
            Self::Everybody => true,
            Self::Users => logged_in,
            Self::User(name) => logged_in && *who.name == **name,
            Self::Role(role) => who.roles.contains(role),
        }
    }
}

impl Scope {
    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no destination or pattern, or about temporary ones.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text == ">" {
            return Ok(Self { text: text.into(), kind: None });
        }
        // The rules for names are those of destinations once the wildcards are taken out.
        let mut plain = String::with_capacity(text.len());
        let mut levels = text.split('.').peekable();
        while let Some(level) = levels.next() {
            let (prefix, word) = level.split_at(level.rfind('/').map_or(0, |slash| slash + 1));
            let is_wildcard = match word {
                "*" => true,
                ">" | "#" => levels.peek().is_none(),
                _ => false,
            };
            plain.push_str(prefix);
            plain.push_str(if is_wildcard { "w" } else { word });
            if levels.peek().is_some() {
                plain.push('.');
            }
        }
        let destination = Destination::parse(&plain).map_err(|error| match error {
            DestinationError::Wildcard => RuleError::Wildcard,
            DestinationError::Prefix
            | DestinationError::Empty
            | DestinationError::TooLong
            | DestinationError::Control => RuleError::Destination(error),
        })?;
        match destination.kind() {
            DestinationKind::TempTopic | DestinationKind::TempQueue => Err(RuleError::Temporary),
            kind @ (DestinationKind::Topic | DestinationKind::Queue) => {
                Ok(Self { text: text.into(), kind: Some(kind) })
            }
        }
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the destination is in it.
    #[must_use]
    pub fn holds(&self, destination: &Destination) -> bool {
        let Some(mut levels) = self.levels_of(destination.kind()) else {
            return self.kind.is_none();
        };
        let mut words = destination.levels();
        loop {
            match (levels.next(), words.next()) {
                (Some(Level::Rest), _) | (None, None) => return true,
                (Some(Level::One), Some(_)) => {}
                (Some(Level::Word(a)), Some(b)) if a == b => {}
                (Some(Level::One | Level::Word(_)) | None, _) => return false,
            }
        }
    }

    /// Whether some destination is in both.
    #[must_use]
    pub fn overlaps(&self, pattern: &Pattern) -> bool {
        let Some(mut ours) = self.levels_of(pattern.kind()) else {
            return self.kind.is_none();
        };
        let mut theirs = pattern.levels();
        loop {
            match (ours.next(), theirs.next()) {
                (Some(Level::Rest), _) | (_, Some(Level::Rest)) | (None, None) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(Level::Word(a)), Some(Level::Word(b))) if a != b => return false,
                (Some(Level::Word(_) | Level::One), Some(Level::Word(_) | Level::One)) => {}
            }
        }
    }

    /// Whether every destination of the pattern is in it.
    #[must_use]
    pub fn covers(&self, pattern: &Pattern) -> bool {
        let Some(mut ours) = self.levels_of(pattern.kind()) else {
            return self.kind.is_none();
        };
        let mut theirs = pattern.levels();
        loop {
            match (ours.next(), theirs.next()) {
                (Some(Level::Rest), _) | (None, None) => return true,
                (Some(Level::One), Some(Level::Word(_) | Level::One)) => {}
                (Some(Level::Word(a)), Some(Level::Word(b))) if a == b => {}
                (Some(Level::One | Level::Word(_)) | None, _) => return false,
            }
        }
    }

    /// Its levels; `None` when it is about all destinations or about another kind.
    fn levels_of(&self, kind: DestinationKind) -> Option<impl Iterator<Item = Level<'_>>> {
        let name = self.text.strip_prefix(self.kind.filter(|&k| k == kind)?.prefix())?;
        Some(name.split('.').map(|level| match level {
            "*" => Level::One,
            ">" | "#" => Level::Rest,
            word => Level::Word(word),
        }))
    }
}

const fn allow(allowed: bool) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::Forbidden) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(scope: &str, subscribe: &[&str], send: &[&str]) -> Rule {
        let grants = |texts: &[&str]| texts.iter().map(|t| Grant::parse(t).unwrap()).collect();
        Rule {
            scope: Scope::parse(scope).unwrap(),
            subscribe: grants(subscribe),
            send: grants(send),
        }
    }

    fn people() -> [Principal; 3] {
        [
            Principal::anonymous(),
            Principal::new("ann", ["trader".into()]),
            Principal::new("feed", ["feeder".into()]),
        ]
    }

    #[test]
    fn without_rules_everybody_may_everything() {
        let access = Access::default();
        for who in people() {
            assert_eq!(access.may_send(&who, &Destination::parse("/queue/a").unwrap()), Ok(()));
            assert_eq!(access.may_subscribe(&who, &Pattern::parse("/topic/>").unwrap()), Ok(()));
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let access = Access::new(vec![
            rule("/topic/quotes.secret.>", &["user:ann"], &["role:feeder"]),
            rule("/topic/quotes.>", &["*"], &["role:feeder"]),
            rule("/queue/orders", &["user:feed"], &["user:*"]),
            rule("/queue/desk.*", &["role:trader"], &["*"]),
            rule("/topic/*.log", &[], &[]),
            rule("/topic/open.>", &["*"], &["*"]),
        ]);
        // May anonymous, ann, feed?
        let send: &[(&str, [bool; 3])] = &[
            ("/topic/quotes.IBM", [false, false, true]),
            ("/topic/quotes", [false, false, true]),
            ("/topic/quotes.secret.IBM", [false, false, true]),
            ("/queue/orders", [false, true, true]),
            ("/queue/orders.eu", [false, false, false]),
            ("/queue/desk.1", [true, true, true]),
            ("/queue/desk.1.2", [false, false, false]),
            ("/topic/desk.1", [false, false, false]),
            ("/topic/open.log", [false, false, false]),
            ("/topic/open.a", [true, true, true]),
            ("/topic/other", [false, false, false]),
            ("/temp-queue/00000000000000000000000000000001", [true, true, true]),
        ];
        for (destination, expected) in send {
            let destination = Destination::parse(destination).unwrap();
            let actual = people().map(|who| access.may_send(&who, &destination).is_ok());
            assert_eq!(actual, *expected, "send to {destination}");
        }
        let subscribe: &[(&str, [bool; 3])] = &[
            ("/topic/quotes.IBM", [true, true, true]),
            ("/topic/quotes.*", [false, true, false]), // quotes.secret is in quotes.secret.>
            ("/topic/quotes.*.eu", [false, true, false]),
            ("/topic/quotes.IBM.*", [true, true, true]),
            ("/topic/quotes.>", [false, true, false]),
            ("/topic/quotes.secret.>", [false, true, false]),
            ("/topic/>", [false, false, false]),
            ("/topic/*", [false, false, false]),
            ("/topic/open.*", [false, false, false]), // open.log is denied
            ("/topic/open.a.*", [true, true, true]),
            ("/queue/orders", [false, false, true]),
            ("/queue/desk.1", [false, true, false]),
            ("/temp-queue/00000000000000000000000000000001", [true, true, true]),
        ];
        for (pattern, expected) in subscribe {
            let pattern = Pattern::parse(pattern).unwrap();
            let actual = people().map(|who| access.may_subscribe(&who, &pattern).is_ok());
            assert_eq!(actual, *expected, "subscribe to {pattern}");
        }
    }

    #[test]
    fn nobody_gets_a_users_rights_by_being_called_anonymous() {
        let access = Access::new(vec![rule(">", &["user:anonymous"], &["user:anonymous"])]);
        let destination = Destination::parse("/topic/a").unwrap();
        assert!(access.may_send(&Principal::anonymous(), &destination).is_err());
    }

    /// What `overlaps` and `covers` promise, tried on every destination of up to three levels.
    #[test]
    fn overlap_and_cover_agree_with_the_destinations() {
        let words = ["a", "b", "c"];
        let mut destinations = Vec::new();
        let mut patterns = Vec::new();
        for depth in 1..=3_u32 {
            for n in 0..words.len().pow(depth) {
                let level = |i: u32| words[n / words.len().pow(i) % words.len()];
                let name = (0..depth).map(level).collect::<Vec<_>>().join(".");
                destinations.push(Destination::parse(&format!("/topic/{name}")).unwrap());
                // `c` becomes a wildcard: a whole family of patterns over a and b.
                let name = name.replace('c', "*");
                patterns.push(format!("/topic/{name}"));
                patterns.push(format!("/topic/{name}.>"));
            }
        }
        patterns.push("/topic/>".into());
        for scope in &patterns {
            let scope = Scope::parse(scope).unwrap();
            for pattern in &patterns {
                let pattern = Pattern::parse(pattern).unwrap();
                let matched = || destinations.iter().filter(|d| pattern.matches(d));
                let some = matched().any(|d| scope.holds(d));
                let all = matched().all(|d| scope.holds(d));
                let shown = format!("{} and {pattern}", scope.as_str());
                assert!(!some || scope.overlaps(&pattern), "{shown} overlap");
                assert!(all || !scope.covers(&pattern), "{shown}: not covered");
            }
        }
    }

    #[test]
    fn scopes_and_grants_are_read_or_refused() {
        let scopes: &[(&str, Result<(), &str>)] = &[
            (">", Ok(())),
            ("/topic/a.*.b", Ok(())),
            ("/topic/>", Ok(())),
            ("/topic/#", Ok(())),
            ("/queue/orders.>", Ok(())),
            ("/queue/a/b", Ok(())),
            (
                "",
                Err("a destination begins with /topic/, /queue/, /temp-topic/ or /temp-queue/; \
                      a rule's destination may also be > for all"),
            ),
            (
                "quotes",
                Err("a destination begins with /topic/, /queue/, /temp-topic/ or \
                            /temp-queue/; a rule's destination may also be > for all"),
            ),
            (
                "/topic/a..b",
                Err("a destination's name, and each of its levels between dots, must \
                                 not be empty; a rule's destination may also be > for all"),
            ),
            (
                "/topic/a*",
                Err("a wildcard stands for whole levels: * for one, > or # at the end \
                               for the rest"),
            ),
            (
                "/topic/>.a",
                Err("a wildcard stands for whole levels: * for one, > or # at the end \
                                for the rest"),
            ),
            (
                "/temp-queue/a",
                Err("rules are not about temporary destinations: only their owner \
                                   subscribes, and who knows the name may send"),
            ),
        ];
        for (text, expected) in scopes {
            let actual = Scope::parse(text).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
        }
        for (text, expected) in [
            ("*", Ok(Grant::Everybody)),
            ("user:*", Ok(Grant::Users)),
            ("user:ann", Ok(Grant::User("ann".into()))),
            ("role:feeder", Ok(Grant::Role("feeder".into()))),
            ("ann", Err(RuleError::Grant)),
            ("user:", Err(RuleError::Grant)),
            ("role:", Err(RuleError::Grant)),
            ("group:a", Err(RuleError::Grant)),
            ("", Err(RuleError::Grant)),
        ] {
            assert_eq!(Grant::parse(text), expected, "{text}");
        }
    }
}
