//! The attacks. Each is a row of the `ATTACKS` of its module.

mod floods;
mod latest;
mod logs;
mod machine;
mod memory;
mod messaging;
mod queues;
mod slow;
mod unread;
mod upstreams;

use std::{
    net::Ipv4Addr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    gateway::{Gateway, Start},
    honest::Visit,
    ledger::{Count, Ledger},
};

/// An attack.
#[derive(Debug)]
pub(crate) struct Attack {
    /// As the table calls it.
    pub(crate) name: &'static str,
    /// Which forms of the suite have it.
    pub(crate) forms: &'static [Form],
    /// How the gateway is started for it. An error says what is not there.
    pub(crate) start: fn(Form) -> Result<Start, String>,
    /// Whether that may be so: it is not a failure then.
    pub(crate) optional: bool,
    /// What new connections come meanwhile.
    pub(crate) visits: &'static [Visit],
    /// Whether they must succeed during the attack, too.
    pub(crate) served: bool,
    /// Whether the gateway ends with it, in good order.
    pub(crate) ends: bool,
    /// Attacks; ends when the last attacker has gone. An error says what should have been
    /// otherwise.
    pub(crate) run: fn(&Scene<'_>) -> Result<(), String>,
}

/// The whole suite, or a short form of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Minutes.
    Quick,
    /// As long as the gateway's own time-outs take.
    Full,
}

/// Where an attack takes place.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) form: Form,
    attackers: AtomicU32,
    /// Of the queues that the attack has had beside those of the usual clients.
    count: Mutex<Count>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(gateway: &'a Gateway, form: Form) -> Self {
        Self { gateway, form, attackers: AtomicU32::new(0), count: Mutex::default() }
    }

    /// Counts the messages of a queue in which nothing is left.
    fn count(&self, queue: &Ledger) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += queue.count();
    }

    /// All that were counted.
    pub(crate) fn into_count(self) -> Count {
        self.count.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What suits the form.
    fn pick<T>(&self, quick: T, full: T) -> T {
        match self.form {
            Form::Quick => quick,
            Form::Full => full,
        }
    }

    fn secs(&self, quick: f32, full: f32) -> Duration {
        Duration::from_secs_f32(self.pick(quick, full))
    }

    /// An address that no honest client has, another one each time.
    fn attacker(&self) -> Ipv4Addr {
        let number = self.attackers.fetch_add(1, Ordering::Relaxed) + 1;
        let [_, _, high, low] = number.to_be_bytes();
        Ipv4Addr::new(127, 1, high, low)
    }
}

impl Attack {
    /// Of both forms, against a gateway with its defaults that goes on serving everybody.
    const USUAL: Self = Self {
        name: "",
        forms: &[Form::Quick, Form::Full],
        start: |_| Ok(Start::default()),
        optional: false,
        visits: &[Visit::Plain, Visit::Tls],
        served: true,
        ends: false,
        run: |_| Ok(()),
    };
}

/// All attacks, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = &'static Attack> {
    [
        logs::ATTACKS,
        machine::ATTACKS,
        floods::ATTACKS,
        slow::ATTACKS,
        messaging::ATTACKS,
        unread::ATTACKS,
        latest::ATTACKS,
        queues::ATTACKS,
        memory::ATTACKS,
        upstreams::ATTACKS,
    ]
    .into_iter()
    .flatten()
}
