use std::sync::Arc;

use contract::{Command, Destination, DestinationError, Operation, Pattern, Principal, Refusal};

/// Who may subscribe to what and send to what. Cheap to clone.
///
/// Without rules everything is allowed. With rules the first whose scope contains a destination
/// decides about it, and a destination in no rule is denied. Temporary destinations are
/// outside the rules: only their owner subscribes, and all who know the name may send.
///
/// Who may subscribe to a queue may subscribe to its dead-letter queue, and only the gateway sends
/// there, without rules too. To allow more, a rule must name dead-letter queues
/// (`/queue/DLQ.orders`, `/queue/DLQ.>`). It takes nothing from those who may subscribe to the queue.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access(Arc<[Rule]>);

/// What is to be authorised.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// All that a command does.
    Command(&'a Command),
    /// Subscribe to every destination that a pattern matches.
    Subscribe(&'a Pattern),
    /// Send to a destination.
    Send(&'a Destination),
    /// Anything that no rule is about, such as ending a subscription.
    Other,
}

/// An action that is not allowed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// What the peer is told.
    pub refusal: Refusal,
    /// `subscribe`, `send`, or `other`.
    pub action: &'static str,
    /// The destination or pattern; empty where the action has none.
    pub destination: Box<str>,
    /// The scope of the rule that decided; [`Denial::NO_RULE`] when none did.
    pub rule: Box<str>,
}

/// The rights on the destinations of a scope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The destinations that it decides about.
    pub scope: Scope,
    /// Who may subscribe.
    pub subscribe: Vec<Grant>,
    /// Who may send.
    pub send: Vec<Grant>,
}

/// Who is granted a right by a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Grant {
    /// `*`: all, anonymous or not.
    Everybody,
    /// `user:*`: every user who logged in.
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
    /// `None`: every destination.
    pattern: Option<Pattern>,
    text: Box<str>,
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
        "rules are not about temporary destinations: only their owner subscribes, and all who know \
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

    /// Whether everything is allowed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Decides whether a principal may do something; the only function that authorises. It is called
    /// in one place, which counts and logs what is denied (`drive/src/event_loop/authorise.rs`).
    ///
    /// Without a principal, not even the anonymous one, everything is refused, with or without rules.
    ///
    /// # Errors
    /// When it is not allowed.
    pub fn authorise(
        &self,
        principal: Option<&Principal>,
        action: Action<'_>,
    ) -> Result<(), Denial> {
        let decide = |right| self.decide(principal, right);
        match action {
            Action::Subscribe(pattern) => decide(Right::Subscribe(pattern)),
            Action::Send(destination) => decide(Right::Send(destination)),
            Action::Other => decide(Right::Other),
            Action::Command(command) => match command {
                Command::Subscribe(subscribe) => decide(Right::Subscribe(&subscribe.pattern)),
                Command::Publish(_, message) => decide(Right::Send(&message.to)),
                Command::Transact(_, operations) => {
                    decide(Right::Other)?;
                    operations.iter().try_for_each(|operation| match operation {
                        Operation::Publish(message) => decide(Right::Send(&message.to)),
                        Operation::Settle(_) => Ok(()),
                    })
                }
                Command::Claim(..)
                | Command::Unsubscribe(..)
                | Command::Delete(_)
                | Command::Find(_)
                | Command::Declare(_)
                | Command::Undeclare(_)
                | Command::Drain(_) => decide(Right::Other),
            },
        }
    }

    fn decide(&self, principal: Option<&Principal>, right: Right<'_>) -> Result<(), Denial> {
        let deny = |refusal, rule| Err(right.denied(refusal, self.scope_of(rule)));
        let Some(principal) = principal else { return deny(Refusal::Unauthenticated, None) };
        let decided = match right {
            Right::Send(destination) if destination.is_dead_letter_queue() => {
                return self
                    .send_dead_letter(principal, destination)
                    .or_else(|rule| deny(Refusal::DeadLetterQueue, rule));
            }
            _ if self.is_open() => Ok(()),
            Right::Subscribe(pattern) => self.subscribe(principal, pattern),
            Right::Send(destination) => self.send(principal, destination),
            Right::Other => Ok(()),
        };
        decided.or_else(|rule| deny(Refusal::Forbidden, rule))
    }

    fn scope_of(&self, rule: Option<usize>) -> &str {
        rule.and_then(|index| self.0.get(index)).map_or(Denial::NO_RULE, |rule| rule.scope.as_str())
    }

    /// Fails with the rule that denies it, if one does.
    fn send(&self, principal: &Principal, destination: &Destination) -> Result<(), Option<usize>> {
        if destination.kind().is_temporary() || destination.is_hidden() {
            return Ok(());
        }
        let (index, rule) = self.first(|scope| scope.holds(destination)).ok_or(None)?;
        allow(&rule.send, principal).then_some(()).ok_or(Some(index))
    }

    /// Fails with the rule that denies it, if one does.
    fn send_dead_letter(
        &self,
        principal: &Principal,
        to: &Destination,
    ) -> Result<(), Option<usize>> {
        let (index, rule) = self.first(|scope| scope.names_dead_letters_in(to)).ok_or(None)?;
        allow(&rule.send, principal).then_some(()).ok_or(Some(index))
    }

    /// Fails with the rule that denies it, if one does.
    ///
    /// A pattern with wildcards must lie within one rule that allows it, and overlap none before
    /// that denies it.
    fn subscribe(&self, principal: &Principal, pattern: &Pattern) -> Result<(), Option<usize>> {
        let is_hidden = pattern.destination().is_some_and(Destination::is_hidden);
        if pattern.kind().is_temporary() || is_hidden {
            return Ok(());
        }
        if let Some(dead_letters) = pattern.destination()
            && let Some(queue) = dead_letters.dead_letters_of()
        {
            let named = self.first(|scope| scope.names_dead_letters_in(dead_letters));
            if named.is_some_and(|(_, rule)| allow(&rule.subscribe, principal)) {
                return Ok(());
            }
            return self.subscribe(principal, &queue.into());
        }
        let rules = self.0.iter().enumerate();
        for (index, rule) in rules.filter(|(_, rule)| rule.scope.overlaps(pattern)) {
            if !allow(&rule.subscribe, principal) {
                return Err(Some(index));
            }
            if rule.scope.covers(pattern) {
                return Ok(());
            }
        }
        Err(None)
    }

    fn first(&self, decides: impl Fn(&Scope) -> bool) -> Option<(usize, &Rule)> {
        self.0.iter().enumerate().find(|(_, rule)| decides(&rule.scope))
    }
}

/// What one decision is about.
#[derive(Clone, Copy, Debug)]
enum Right<'a> {
    Subscribe(&'a Pattern),
    Send(&'a Destination),
    Other,
}

impl Right<'_> {
    #[cold]
    fn denied(self, refusal: Refusal, rule: &str) -> Denial {
        let (action, destination) = match self {
            Self::Subscribe(pattern) => ("subscribe", pattern.to_string()),
            Self::Send(destination) => ("send", destination.to_string()),
            Self::Other => ("other", String::new()),
        };
        Denial { refusal, action, destination: destination.into(), rule: rule.into() }
    }
}

impl Denial {
    /// What stands for the rule where none decided.
    pub const NO_RULE: &str = "none";
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

    fn is_for(&self, principal: &Principal) -> bool {
        let logged_in = !principal.is_anonymous();
        match self {
            Self::Everybody => true,
            Self::Users => logged_in,
            Self::User(name) => logged_in && *principal.name == **name,
            Self::Role(role) => principal.roles.contains(role),
        }
    }
}

impl Scope {
    /// Reads the text form.
    ///
    /// # Errors
    /// When it is no destination or pattern, or about temporary ones.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let pattern = match text {
            ">" => None,
            text => Some(Pattern::parse_scope(text).map_err(|error| match error {
                DestinationError::Wildcard => RuleError::Wildcard,
                DestinationError::Prefix
                | DestinationError::Empty
                | DestinationError::TooLong
                | DestinationError::Control => RuleError::Destination(error),
            })?),
        };
        if pattern.as_ref().is_some_and(|pattern| pattern.kind().is_temporary()) {
            return Err(RuleError::Temporary);
        }
        Ok(Self { pattern, text: text.into() })
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the destination is in it.
    #[must_use]
    pub fn holds(&self, destination: &Destination) -> bool {
        self.pattern.as_ref().is_none_or(|scope| scope.matches(destination))
    }

    /// Whether dead-letter queues are what it is about: not `/queue/>`, but `/queue/DLQ.>`.
    #[must_use]
    pub fn names_dead_letter_queues(&self) -> bool {
        self.pattern.as_ref().is_some_and(Pattern::names_dead_letter_queues)
    }

    fn names_dead_letters_in(&self, queue: &Destination) -> bool {
        self.names_dead_letter_queues() && self.holds(queue)
    }

    /// Whether some destination is in both.
    #[must_use]
    pub fn overlaps(&self, pattern: &Pattern) -> bool {
        self.pattern.as_ref().is_none_or(|scope| scope.overlaps(pattern))
    }

    /// Whether every destination of the pattern is in it.
    #[must_use]
    pub fn covers(&self, pattern: &Pattern) -> bool {
        self.pattern.as_ref().is_none_or(|scope| scope.covers(pattern))
    }

    /// Whether every destination of the other is in it.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match &other.pattern {
            Some(pattern) => self.covers(pattern),
            None => self.pattern.is_none(),
        }
    }
}

fn allow(grants: &[Grant], principal: &Principal) -> bool {
    grants.iter().any(|grant| grant.is_for(principal))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "this is what is tested")]
mod tests {
    use contract::DestinationKind;

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

    fn may_send(access: &Access, principal: &Principal, to: &Destination) -> bool {
        access.authorise(Some(principal), Action::Send(to)).is_ok()
    }

    fn may_subscribe(access: &Access, principal: &Principal, to: &Pattern) -> bool {
        access.authorise(Some(principal), Action::Subscribe(to)).is_ok()
    }

    #[test]
    fn without_rules_everybody_may_everything() {
        let access = Access::default();
        for principal in people() {
            assert!(may_send(&access, &principal, &Destination::parse("/queue/a").unwrap()));
            assert!(may_subscribe(&access, &principal, &Pattern::parse("/topic/>").unwrap()));
        }
    }

    #[test]
    fn who_did_not_log_in_may_nothing() {
        let topic = Destination::parse("/topic/a").unwrap();
        let temporary = Destination::temporary(DestinationKind::TempQueue, 1);
        let hidden = Destination::hidden("broadcast-1");
        let patterns =
            [&topic, &temporary, &hidden].map(|destination| Pattern::from(destination.clone()));
        let sends = [&topic, &temporary, &hidden].map(Action::Send);
        let subscribes = patterns.each_ref().map(Action::Subscribe);
        for access in [Access::default(), Access::new(vec![rule(">", &["*"], &["*"])])] {
            for action in sends.into_iter().chain(subscribes).chain([Action::Other]) {
                let denial = access.authorise(None, action).unwrap_err();
                assert_eq!(denial.refusal, Refusal::Unauthenticated, "{action:?}");
                assert_eq!(access.authorise(Some(&Principal::anonymous()), action), Ok(()));
            }
        }
    }

    #[test]
    fn a_denial_names_the_rule_that_decided() {
        let access = Access::new(vec![
            rule("/topic/quotes.secret.>", &["user:ann"], &[]),
            rule("/topic/quotes.>", &["*"], &["role:feeder"]),
            rule("/queue/orders", &[], &["user:*"]),
        ]);
        let anonymous = Principal::anonymous();
        for (pattern, rule) in [
            ("/topic/quotes.secret.IBM", "/topic/quotes.secret.>"),
            ("/topic/quotes.>", "/topic/quotes.secret.>"),
            ("/queue/orders", "/queue/orders"),
            ("/topic/other", Denial::NO_RULE),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            let actual = access.authorise(Some(&anonymous), Action::Subscribe(&parsed));
            let (refusal, action) = (Refusal::Forbidden, "subscribe");
            let denial = Denial { refusal, action, destination: pattern.into(), rule: rule.into() };
            assert_eq!(actual, Err(denial));
        }
        for (destination, rule) in [
            ("/topic/quotes.secret.IBM", "/topic/quotes.secret.>"),
            ("/topic/quotes.IBM", "/topic/quotes.>"),
            ("/queue/orders", "/queue/orders"),
            ("/queue/other", Denial::NO_RULE),
        ] {
            let parsed = Destination::parse(destination).unwrap();
            let actual = access.authorise(Some(&anonymous), Action::Send(&parsed));
            let (refusal, action) = (Refusal::Forbidden, "send");
            let denial =
                Denial { refusal, action, destination: destination.into(), rule: rule.into() };
            assert_eq!(actual, Err(denial));
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
            let actual = people().map(|principal| may_send(&access, &principal, &destination));
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
            let actual = people().map(|principal| may_subscribe(&access, &principal, &pattern));
            assert_eq!(actual, *expected, "subscribe to {pattern}");
        }
    }

    const DEAD_LETTERS: [&str; 10] = [
        "/queue/DLQ.secret.orders",
        "/queue/DLQ.DLQ.secret.orders",
        "/queue/DLQ.secret*2Eorders",
        "/queue/DLQ.orders",
        "/queue/DLQ.other",
        "/queue/DLQ.DLQ",
        "/queue/DLQ.DLQ.DLQ",
        "/queue/DLQ.DLQ.*0",
        "/queue/DLQ.*0.a",
        "/queue/DLQ.dlq.a",
    ];

    #[test]
    fn only_a_rule_that_names_dead_letter_queues_lets_anybody_send_there() {
        let deny_all = [false; 3];
        for (rules, expected) in [
            (vec![], deny_all),
            (vec![rule(">", &["*"], &["*"])], deny_all),
            (vec![rule("/queue/>", &["*"], &["*"])], deny_all),
            (
                vec![rule("/queue/*.>", &["*"], &["*"]), rule("/queue/DLQ", &["*"], &["*"])],
                deny_all,
            ),
            (vec![rule("/queue/DLQ.>", &["*"], &[])], deny_all),
            (vec![rule("/queue/DLQ.>", &[], &["*"])], [true; 3]),
            (
                vec![rule(">", &["*"], &["*"]), rule("/queue/DLQ.>", &[], &["role:trader"])],
                [false, true, false],
            ),
            (
                vec![rule("/queue/>", &[], &[]), rule("/queue/DLQ.#", &[], &["user:*"])],
                [false, true, true],
            ),
        ] {
            let access = Access::new(rules);
            for to in DEAD_LETTERS {
                let to = Destination::parse(to).unwrap();
                let actual = people().map(|who| may_send(&access, &who, &to));
                assert_eq!(actual, expected, "{to} with {access:?}");
            }
        }
    }

    #[test]
    fn what_merely_resembles_a_dead_letter_queue_is_none() {
        let access = Access::default();
        for to in
            ["/topic/DLQ.a", "/temp-queue/DLQ.a", "/queue/DLQ*2Ea", "/queue/dlq.a", "/queue/DLQ"]
        {
            let to = Destination::parse(to).unwrap();
            assert!(may_send(&access, &Principal::anonymous(), &to), "{to}");
        }
    }

    #[test]
    fn a_denial_to_send_a_dead_letter_says_so() {
        let access = Access::new(vec![
            rule("/queue/>", &["*"], &["*"]),
            rule("/queue/DLQ.secret.>", &["*"], &["user:ann"]),
        ]);
        for (to, rule) in [
            ("/queue/DLQ.secret.orders", "/queue/DLQ.secret.>"),
            ("/queue/DLQ.orders", Denial::NO_RULE),
        ] {
            let parsed = Destination::parse(to).unwrap();
            let actual = access.authorise(Some(&Principal::anonymous()), Action::Send(&parsed));
            let (refusal, action) = (Refusal::DeadLetterQueue, "send");
            assert_eq!(
                actual,
                Err(Denial { refusal, action, destination: to.into(), rule: rule.into() })
            );
        }
    }

    #[test]
    fn who_may_subscribe_to_a_queue_may_subscribe_to_its_dead_letter_queue() {
        let access = Access::new(vec![
            rule("/queue/secret.>", &["user:ann"], &["*"]),
            rule("/queue/secret*2Eorders", &["user:feed"], &["*"]),
            rule("/queue/DLQ", &["user:feed"], &[]),
            rule("/queue/DLQ.audited.>", &["role:trader"], &[]),
            rule("/queue/audited.>", &["user:feed"], &[]),
            rule("/queue/*0.>", &[], &[]),
            rule("/queue/DLQ.plain", &[], &["role:trader"]),
            rule("/queue/orders.>", &["user:*"], &["*"]),
            rule("/queue/plain", &["*"], &["*"]),
        ]);
        // May anonymous, ann, feed?
        for (queue, expected) in [
            ("/queue/secret.orders", [false, true, false]),
            ("/queue/secret", [false, true, false]),
            ("/queue/secret*2Eorders", [false, false, true]),
            ("/queue/DLQ", [false, false, true]),
            ("/queue/*0.a", [false; 3]),
            ("/queue/orders.eu.1", [false, true, true]),
            ("/queue/plain", [true; 3]), // a rule for who sends takes nothing from who reads
            ("/queue/other", [false; 3]),
        ] {
            let queue = Destination::parse(queue).unwrap();
            let dead_letters = queue.dead_letter_queue().unwrap();
            let theirs = format!("/queue/DLQ.{}", &dead_letters.to_string()["/queue/".len()..]);
            for pattern in [queue, dead_letters, Destination::parse(&theirs).unwrap()] {
                let pattern = Pattern::from(pattern);
                let actual = people().map(|who| may_subscribe(&access, &who, &pattern));
                assert_eq!(actual, expected, "{pattern}");
            }
        }
        // And those whom a rule lets that names it.
        for pattern in ["/queue/DLQ.audited.a", "/queue/DLQ.DLQ.audited.a"] {
            let pattern = Pattern::parse(pattern).unwrap();
            let actual = people().map(|who| may_subscribe(&access, &who, &pattern));
            assert_eq!(actual, [false, true, true], "{pattern}");
        }
    }

    /// With every list of up to three of these rules.
    #[test]
    fn no_rules_but_those_that_name_it_open_a_dead_letter_queue() {
        let scopes = [
            ">",
            "/queue/>",
            "/queue/*",
            "/queue/*.>",
            "/queue/*.a",
            "/queue/a",
            "/queue/DLQ",
            "/queue/DLQ.>",
            "/queue/DLQ.a",
            "/queue/DLQ.*.a",
            "/topic/DLQ.>",
        ];
        let every: Vec<_> = scopes
            .into_iter()
            .flat_map(|scope| [rule(scope, &["*"], &["*"]), rule(scope, &[], &[])])
            .collect();
        let queues = ["/queue/a", "/queue/a.a", "/queue/DLQ", "/queue/DLQ.a"];
        let queues = queues.map(|queue| Destination::parse(queue).unwrap());
        let dead_letters = queues.each_ref().map(|queue| {
            let levels = ["DLQ"].into_iter().chain(queue.levels());
            Destination::new(DestinationKind::Queue, levels).unwrap()
        });
        let who = Principal::anonymous();
        for n in 0..every.len().pow(3) {
            let nth = |i: u32| every[n / every.len().pow(i) % every.len()].clone();
            let access = Access::new((0..3).map(nth).collect());
            for (queue, dead_letters) in queues.iter().zip(&dead_letters) {
                let named = access.first(|scope| scope.names_dead_letters_in(dead_letters));
                let named = named.is_some_and(|(_, rule)| !rule.send.is_empty());
                let shown = format!("{dead_letters} with {access:?}");
                assert_eq!(may_send(&access, &who, dead_letters), named, "{shown}");
                let [here, there] = [queue, dead_letters]
                    .map(|queue| may_subscribe(&access, &who, &queue.clone().into()));
                assert_eq!(there, here || named, "{shown}");
            }
        }
    }

    #[test]
    fn a_user_called_anonymous_has_no_rights_of_a_user() {
        let access = Access::new(vec![rule(">", &["user:anonymous"], &["user:anonymous"])]);
        let destination = Destination::parse("/topic/a").unwrap();
        assert!(!may_send(&access, &Principal::anonymous(), &destination));
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
                                   subscribes, and all who know the name may send"),
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
