use std::collections::BTreeMap;

use contract::{Command, Destination};

use crate::{
    error::{AmqpError, RESOURCE_DELETED},
    link::LinkId,
    open::{Context, Open},
    pending::Request,
};

/// The temporary destinations of a connection, by the bits that name them.
#[derive(Debug, Default)]
pub(crate) struct Temporaries(BTreeMap<u128, Temporary>);

#[derive(Debug)]
struct Temporary {
    destination: Destination,
    /// Subscriptions to it that the broker has.
    readers: u32,
    /// Its link has gone: it is deleted once nothing reads it.
    is_over: bool,
}

impl Temporaries {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, destination: &Destination) {
        if let Some(bits) = destination.random() {
            let (destination, readers, is_over) = (destination.clone(), 0, false);
            self.0.insert(bits, Temporary { destination, readers, is_over });
        }
    }

    /// Something begins to read this. Returns what names it, if it is one of these.
    pub(crate) fn read(&mut self, destination: &Destination) -> Option<u128> {
        let bits = destination.random()?;
        let temporary = self.0.get_mut(&bits).filter(|one| one.destination == *destination)?;
        temporary.readers += 1;
        Some(bits)
    }
}

impl Open {
    /// The link that a destination was made for has ended.
    pub(crate) fn end_temporary(&mut self, destination: &Destination, cx: &mut Context<'_>) {
        let Some(bits) = destination.random() else { return };
        let Some(temporary) = self.temporaries.0.get_mut(&bits) else { return };
        temporary.is_over = true;
        let readers: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.outgoing().is_some_and(|one| one.reads == Some(bits)))
            .map(|(id, _)| *id)
            .collect();
        for id in readers {
            let error = AmqpError::new(RESOURCE_DELETED, "the temporary destination was deleted");
            self.fail(id, &error, true, cx);
        }
        self.delete_if_over(bits, cx);
    }

    /// A subscription to a temporary destination of the connection is no more.
    pub(crate) fn stopped_reading(&mut self, reads: Option<u128>, cx: &mut Context<'_>) {
        let Some(bits) = reads else { return };
        if let Some(temporary) = self.temporaries.0.get_mut(&bits) {
            temporary.readers = temporary.readers.saturating_sub(1);
        }
        self.delete_if_over(bits, cx);
    }

    /// What was not made.
    pub(crate) fn forget_temporary(&mut self, destination: &Destination) {
        if let Some(bits) = destination.random() {
            self.temporaries.0.remove(&bits);
        }
    }

    fn delete_if_over(&mut self, bits: u128, cx: &mut Context<'_>) {
        let is_due = |one: &Temporary| one.is_over && one.readers == 0;
        if self.temporaries.0.get(&bits).is_some_and(is_due)
            && let Some(temporary) = self.temporaries.0.remove(&bits)
        {
            let token = self.pending.wait(Request::Nothing);
            cx.out.command(token, Command::Undeclare(temporary.destination));
        }
    }
}
