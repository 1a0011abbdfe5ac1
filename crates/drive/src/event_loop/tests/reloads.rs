//! Users and access rules that change while there are connections, turn by turn.

use std::{
    pin::pin,
    sync::Mutex,
    task::{Context as TaskContext, Poll, Waker},
};

use auth::{Grant, Password, Rule, Scope, User};
use contract::{Notice, Reason, Reply, Secret, Step};

use super::*;
use crate::event_loop::{principals::REVIEWS_PER_TURN, run::take_inbox};

/// Of a user whose password changes, a login with the new one stays whenever it comes, and one with the
/// old one ends or is refused; one of another user stays.
#[test]
fn a_login_around_a_reload_holds_by_the_users_that_accepted_it() {
    let [old, new] = ["old", "new"].map(|text| Password::make(&Secret::new(text)).unwrap());
    let users = |ann: &Password, role: &str| -> Users {
        [user("ann", "", ann), user("bob", role, &old)].into_iter().collect()
    };
    let world = World::new(users(&old, "clerk"));
    let [ann, bob, bob_before] = [("ann", ""), ("bob", "boss"), ("bob", "clerk")]
        .map(|(name, role)| Principal::new(name, [role.into()]));
    let mut peers = Vec::new();
    // The version of the users that accepted the login, and what becomes of the connection.
    let mut connect = |world: &World, who: &Principal, version, is_of: Option<&Principal>| {
        peers.push((world.register(who, version), is_of.cloned()));
        peers.push((world.log_in(who, version), is_of.cloned()));
    };
    connect(&world, &ann, 0, None);
    connect(&world, &bob_before, 0, Some(&bob));
    world.cores.reload(users(&new, "boss"), &Access::default());
    // The core does not know yet.
    connect(&world, &ann, 0, None);
    connect(&world, &ann, 1, Some(&ann));
    connect(&world, &bob_before, 0, Some(&bob));
    connect(&world, &bob, 1, Some(&bob));
    world.take_inbox();
    // It knows, and has not gone through all connections.
    connect(&world, &ann, 0, None);
    connect(&world, &ann, 1, Some(&ann));
    world.turns();
    connect(&world, &ann, 0, None);
    connect(&world, &bob_before, 0, Some(&bob));
    for (number, (peer, is_of)) in peers.iter().enumerate() {
        assert_eq!(world.principal(peer), *is_of, "{number}");
        let said = peer.said.lock().unwrap();
        let roles = said.iter().rev().find_map(|line| line.strip_prefix("roles "));
        if is_of.as_ref() == Some(&bob) && said.iter().any(|line| line == "roles clerk") {
            assert_eq!(roles, Some("boss"), "{number}: it is told");
        }
    }
    // A user who goes and comes back is another.
    world.cores.reload(Users::default(), &Access::default());
    world.cores.reload(users(&new, "boss"), &Access::default());
    assert_eq!(world.cores.principal_now(&ann, 1), Err(Refusal::Unauthenticated));
    assert_eq!(world.cores.principal_now(&ann, 3), Ok((ann, 3)));
    world.take_inbox();
    world.turns();
    assert!(peers.iter().all(|(peer, _)| world.principal(peer).is_none()));
}

/// What began to come before a reload is done by the rights of its user after it: by a session that the
/// review has not come to, and for a request.
#[test]
fn what_comes_whole_after_a_reload_is_published_by_the_rights_of_then() {
    let [old, new] = ["old", "new"].map(|text| Password::make(&Secret::new(text)).unwrap());
    let users = |ann: &Password, bob: &str, eve: &str| -> Users {
        [user("ann", "boss", ann), user("bob", bob, &old), user("eve", eve, &old)]
            .into_iter()
            .collect()
    };
    let who = |name, role: &str| Principal::new(name, [role.into()]);
    let before = [who("ann", "boss"), who("bob", "clerk"), who("eve", "boss")];
    let access =
        Access::new(vec![Rule { send: vec![Grant::Role("boss".into())], ..rule("/topic/a") }]);
    for core_knows in [false, true] {
        let world = World::new(users(&old, "clerk", "boss"));
        world.cores.reload(users(&old, "clerk", "boss"), &access);
        world.take_inbox();
        world.turns();
        let peers = before.each_ref().map(|who| world.register(who, 1));
        world.turns();
        world.cores.reload(users(&new, "boss", "clerk"), &access);
        if core_knows {
            world.take_inbox();
            for peer in &peers {
                assert!(poll(peer.carrier.feed(Bytes::from_static(b"the rest"))).is_ready());
            }
            world.turns();
            let said = peers.each_ref().map(|peer| peer.said.lock().unwrap().join(", "));
            assert_eq!(
                said,
                ["", "roles boss, received, done", "roles clerk, received, forbidden"]
            );
        }
        let published = before.each_ref().map(|who| world.publish(who, 1));
        assert_eq!(published, [Err(Refusal::Unauthenticated), Ok(()), Err(Refusal::Forbidden)]);
        assert_eq!(world.publish(&who("ann", "boss"), 2), Ok(()));
        assert_eq!(world.publish(&Principal::anonymous(), 0), Err(Refusal::Forbidden));
    }
}

/// One that waits behind what the turn has no more time for, when the connection is gone through. By
/// the rules, and by the rights of its user.
#[test]
fn a_subscription_that_is_not_begun_before_a_reload_is_not_begun_after_it() {
    const EACH: u32 = 500;
    const MESSAGES: usize = SPENT_PER_TURN / EACH as usize + 1;
    let password = Password::make(&Secret::new("secret")).unwrap();
    let users = |role| -> Users { [user("ann", role, &password)].into_iter().collect() };
    let rule = || Rule { subscribe: vec![Grant::Role("boss".into())], ..rule("/topic/secret") };
    let others = || Rule { send: vec![Grant::Everybody], ..self::rule("/topic/a") };
    let open = Access::default();
    let access = Access::new(vec![rule(), others()]);
    for (before, after) in [(("clerk", &open), "clerk"), (("boss", &access), "clerk")] {
        let world = World::new(users(before.0));
        world.cores.reload(users(before.0), before.1);
        world.take_inbox();
        world.turns();
        let ann = world.register(&Principal::new("ann", [before.0.into()]), 1);
        let topic = |name| Pattern::parse(name).unwrap();
        let id = world.core.with(|core| core.tools.id(ann.carrier.slot()));
        let subscribe = |number, name| {
            let subscribe = Subscribe::new(SubscriptionId(number), topic(name));
            Request::Command(id, Token(0), Command::Subscribe(Box::new(subscribe)), None)
        };
        world.request((0..EACH).map(|number| subscribe(number, "/topic/a")));
        world.turns();
        let publish = Command::Publish(Lane::default(), Arc::new(message(1)));
        let much = (0..MESSAGES).map(|_| Request::Command(id, Token(0), publish.clone(), None));
        // The second waits for the next turn, since the first hands over what came before.
        let written = [Request::Written(id, 0), Request::Written(id, 0)];
        world.request(much.chain(written).chain([subscribe(EACH, "/topic/secret")]));
        world.cores.reload(users(after), &access);
        world.take_inbox();
        world.turns();
        world.core.with(|core| {
            let subscriber = Subscriber { connection: id, subscription: SubscriptionId(EACH) };
            assert_eq!(core.shard.pattern_of(subscriber), None, "as {before:?}");
        });
    }
}

/// However they are spread over connections; and what a second reload finds undone is done by its rules.
#[test]
fn a_review_is_paced_by_subscriptions() {
    const EACH: u32 = 900;
    let nothing = || Access::new(vec![rule("/topic/none")]);
    for reloaded_again in [None, Some(nothing()), Some(Access::default())] {
        let world = World::new(Users::default());
        let peers: Vec<_> = (0..4).map(|_| world.register(&Principal::anonymous(), 0)).collect();
        for peer in &peers {
            world.subscribe(peer, EACH);
        }
        let cancelled = || {
            let said = peers.iter().map(|peer| peer.said.lock().unwrap().clone());
            said.flatten().filter(|line| line == "cancelled").count()
        };
        world.cores.reload(Users::default(), &nothing());
        world.take_inbox();
        let (mut turns, mut before) = (0, 0);
        while world.core.core.borrow_mut().turn().unwrap().busy {
            turns += 1;
            let now = cancelled();
            assert!(now <= before + REVIEWS_PER_TURN, "{} in a turn", now - before);
            before = now;
            if turns == 2
                && let Some(access) = &reloaded_again
            {
                assert!((1..4 * EACH as usize).contains(&now), "{now} are done");
                world.cores.reload(Users::default(), access);
                world.take_inbox();
            }
        }
        let all = 4 * EACH as usize;
        match &reloaded_again {
            Some(access) if access.is_open() => {
                assert!(cancelled() < all, "they are allowed again");
            }
            Some(_) | None => assert_eq!(cancelled(), all),
        }
    }
}

const PUBLISH: Token = Token(7);

fn rule(scope: &str) -> Rule {
    Rule { scope: Scope::parse(scope).unwrap(), subscribe: vec![Grant::Everybody], send: vec![] }
}

fn user(name: &str, role: &str, password: &Password) -> User {
    User::new(name, [role.into()], password.clone()).unwrap()
}

/// A core, with the connections of this test.
struct World {
    core: CoreRef,
    cores: Arc<Cores>,
}

/// A connection, and what its session was told.
struct Peer {
    carrier: Carrier,
    said: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(users: Users) -> Self {
        let core = core_of(users);
        let cores = Arc::clone(&core.cores);
        Self { core: CoreRef::new(core), cores }
    }

    fn take_inbox(&self) {
        take_inbox(&self.core, &mut |_| {});
    }

    fn turns(&self) {
        let is_done = |_: &usize| !self.core.core.borrow_mut().turn().unwrap().busy;
        assert!((0..10_000).any(|turn| is_done(&turn)), "never done");
    }

    fn connect(&self, principal: Option<Principal>, users_version: u64) -> Peer {
        let said = Arc::<Mutex<Vec<String>>>::default();
        let registration =
            Registration { principal, users_version, ..registration(([127, 0, 0, 1], 1).into()) };
        let session = Listener(Arc::clone(&said));
        let carrier = self.core.carry(registration, |_, _| Box::new(session)).unwrap();
        Peer { carrier, said }
    }

    /// One whose peer was authenticated before, as by HTTP.
    fn register(&self, who: &Principal, users_version: u64) -> Peer {
        self.connect(Some(who.clone()), users_version)
    }

    /// One that logs in by its protocol.
    fn log_in(&self, who: &Principal, users_version: u64) -> Peer {
        let peer = self.connect(None, 0);
        self.core.with(|core| {
            let id = core.tools.id(peer.carrier.slot());
            let accepted = Step::Accepted(who.clone(), Vec::new());
            core.login_decided(id, Token(1), Ok(accepted), users_version);
        });
        peer
    }

    /// Publishes for a request whose sender was authenticated by users with this version.
    fn publish(&self, who: &Principal, users_version: u64) -> Result<(), Refusal> {
        let subject = Subject {
            principal: Some(who),
            peer: ([127, 0, 0, 1], 1).into(),
            service: 0,
            protocol: "test",
            connection: None,
            is_logged: false,
        };
        let publisher = Publisher::Peer { subject: &subject, users_version };
        let mut publishing = pin!(self.core.publish(publisher, |id, _| message(id)));
        let context = &mut TaskContext::from_waker(Waker::noop());
        let first = publishing.as_mut().poll(context);
        self.turns();
        match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => match publishing.poll(context) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => panic!("no reply"),
            },
        }
    }

    fn subscribe(&self, peer: &Peer, count: u32) {
        let id = self.core.with(|core| core.tools.id(peer.carrier.slot()));
        self.request((0..count).map(|number| {
            let topic = Pattern::parse(&format!("/topic/{number}")).unwrap();
            let subscribe = Box::new(Subscribe::new(SubscriptionId(number), topic));
            Request::Command(id, Token(0), Command::Subscribe(subscribe), None)
        }));
        self.turns();
    }

    /// What sessions have requested, and may.
    fn request(&self, requests: impl Iterator<Item = Request>) {
        self.core.with(|core| core.tools.pending_requests.extend(requests));
    }

    /// Who the peer of a connection is, while it lasts.
    fn principal(&self, peer: &Peer) -> Option<Principal> {
        self.core.with(|core| {
            let connection = &core.reactor.get(peer.carrier.slot())?.state;
            connection.life.kind()?;
            connection.context.principal.as_deref().cloned()
        })
    }
}

fn message(id: u128) -> Message {
    Message::new(Destination::parse("/topic/a").unwrap(), id, 0, Body::Binary(Bytes::new()))
}

/// Polls once: what is not ready is given up.
fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// Notes what it is told of its login, its subscriptions and what it publishes, and closes when its
/// login ends. Publishes when something is received.
struct Listener(Arc<Mutex<Vec<String>>>);

impl Session for Listener {
    fn handle(&mut self, input: Input<'_>, _: Now, out: &mut dyn Outbox) {
        let mut said = self.0.lock().unwrap();
        let roles = |principal: &Principal| {
            let roles: Vec<_> = principal.roles.iter().map(|role| &**role).collect();
            format!("roles {}", roles.join(" "))
        };
        match input {
            Input::Notice(Notice::Renewed(principal)) => said.push(roles(&principal)),
            Input::Received(_) => {
                said.push("received".to_owned());
                let publish = Command::Publish(Lane::default(), Arc::new(message(1)));
                out.command(PUBLISH, publish);
            }
            Input::Replied(PUBLISH, outcome) => said.push(match outcome {
                Ok(_) => "done".to_owned(),
                Err(refusal) => format!("{refusal:?}").to_lowercase(),
            }),
            Input::Replied(_, Ok(Reply::Login(step))) => {
                if let Step::Accepted(principal, _) = &*step {
                    said.push(roles(principal));
                }
            }
            Input::Notice(Notice::Cancelled(..)) => said.push("cancelled".to_owned()),
            Input::GivenUp(reason, why) => out.close(reason, why, None),
            Input::Replied(_, Err(refusal)) => {
                out.close(Reason::Unauthenticated, &refusal.to_string(), None);
            }
            Input::Opened
            | Input::Replied(_, Ok(_))
            | Input::Delivered(..)
            | Input::Notice(_)
            | Input::Timeout
            | Input::Shutdown
            | Input::Closed(_) => {}
        }
    }
    fn deadline(&self) -> Option<u64> {
        None
    }
}
