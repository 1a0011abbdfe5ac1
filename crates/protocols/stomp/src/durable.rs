//! The headers of SUBSCRIBE and UNSUBSCRIBE that name a durable subscription: the gateway's, which are
//! Artemis's too, ActiveMQ's and RabbitMQ's.

use contract::{
    ClientName, ClientRules, Destination, DestinationError, DestinationKind, Durable, DurableName,
    Principal, Reason, SameClientId, Sender,
};

use crate::{Frame, Verb, fault::Fault};

/// Who a client is to durable subscriptions, and to who receives what it sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// `None`: it did not log in.
    pub(crate) user: Option<Sender>,
    /// Receivers see the user whether it says so or not.
    is_shown: bool,
    /// The header `client-id` of CONNECT, or empty.
    client: Box<str>,
    /// No other connection has the client id.
    is_exclusive: bool,
}

impl Identity {
    /// `None`: it is nobody in particular.
    pub(crate) fn new(
        principal: &Principal,
        rules: ClientRules,
        client: Box<str>,
    ) -> Option<Box<Self>> {
        let (user, is_shown) = (Sender::of(principal), rules.shows_senders);
        let is_exclusive = !client.is_empty() && rules.same_client_id != SameClientId::Share;
        (user.is_some() || !client.is_empty())
            .then(|| Box::new(Self { user, is_shown, client, is_exclusive }))
    }

    /// The client that no other connection is to be; `None`: others may be it too.
    pub(crate) fn claimed(&self) -> Result<Option<ClientName>, Fault> {
        let user = self.user.as_ref().map(Sender::name);
        let claimed = self.is_exclusive.then(|| ClientName::new(user, &self.client));
        claimed.transpose().map_err(|_| {
            let detail = format!(
                "client-id must have no control characters and, with the name of the user, at most {} \
                 bytes",
                Destination::NAME_BYTES_MAX
            );
            Fault::malformed("bad client-id", detail)
        })
    }

    /// Whom receivers see as the sender of a message that says so, or does not.
    pub(crate) fn sender(&self, claimed: Option<&str>) -> Result<Option<Sender>, Fault> {
        let refused = |detail| Err(Fault::new(Reason::Forbidden, "bad user-id", detail));
        match (&self.user, claimed) {
            (user, None) => Ok(user.clone().filter(|_| self.is_shown)),
            (Some(user), Some(claimed)) if user.name() == claimed => Ok(Some(user.clone())),
            (Some(user), Some(claimed)) => refused(format!(
                "user-id must be the user of this connection, {:?}, or be left out: not {claimed:?}",
                user.name()
            )),
            (None, Some(_)) => refused(
                "user-id names a user, and this connection has not logged in: log in, or leave it out"
                    .to_owned(),
            ),
        }
    }

    fn name(&self, name: &str, is_durable: bool) -> Result<DurableName, Fault> {
        let new = if is_durable { DurableName::new } else { DurableName::not_durable };
        new(self.user.as_ref().map(Sender::name), &self.client, name).map_err(|error| {
            let detail = match error {
                DestinationError::TooLong => format!(
                    "the names of the user, the client and the subscription have at most {} bytes in all",
                    Destination::NAME_BYTES_MAX
                ),
                DestinationError::Prefix
                | DestinationError::Empty
                | DestinationError::Control
                | DestinationError::Wildcard => "the names of the user, the client and the subscription must have no control \
                      characters"
                    .to_owned(),
            };
            bad(detail)
        })
    }

    /// The durable subscription that a frame names, if it does.
    pub(crate) fn named(&self, frame: &Frame) -> Result<Option<DurableName>, Fault> {
        given(frame)?.map(|(name, _)| self.name(name, true)).transpose()
    }

    /// What a SUBSCRIBE says of it, if it is to be durable.
    pub(crate) fn durable(
        &self,
        frame: &Frame,
        kind: DestinationKind,
    ) -> Result<Option<Box<Durable>>, Fault> {
        let no_local = flag(frame, &["no-local", "activemq.noLocal"])?;
        let (shared, displaces) = (flag(frame, &["shared"])?, flag(frame, &["displace"])?);
        let Some((name, spelling)) = given(frame)? else {
            let shared_name =
                SHARED_NAMES.iter().find_map(|name| Some((name, frame.header(name)?)));
            if let Some((header, name)) = shared_name {
                return self.shared(header, name, kind, shared, no_local);
            }
            return match (shared, no_local, displaces) {
                (Some(true), ..) => Err(bad(
                    "shared:true goes with durable-subscription-name; a shared subscription that is not \
                     durable has shared-subscription-name",
                )),
                (_, Some(true), _) if !kind.is_queue() => {
                    Err(bad("no-local:true is for durable subscriptions"))
                }
                _ => Ok(None),
            };
        };
        if kind != DestinationKind::Topic {
            return match spelling {
                // There, clients say so of queues too, which last anyway.
                Spelling::RabbitMq => Ok(None),
                Spelling::Name => Err(bad(
                    "a durable subscription is to topics: a queue keeps its messages anyway",
                )),
            };
        }
        // RabbitMQ lets several clients read one that it names by the id alone.
        let is_shared =
            shared.unwrap_or_else(|| spelling == Spelling::RabbitMq && self.client.is_empty());
        if !is_shared && self.client.is_empty() {
            return Err(bad(
                "a durable subscription belongs to a client: CONNECT with a client-id, or subscribe \
                 with shared:true",
            ));
        }
        let no_local = no_local.unwrap_or_default();
        if is_shared && no_local {
            return Err(bad("no-local:true is not for shared subscriptions"));
        }
        // Of a connection that has had the client id before, the end may not have been heard yet.
        let displaces = displaces.unwrap_or(self.is_exclusive && !is_shared);
        Ok(Some(Box::new(Durable { name: self.name(name, true)?, is_shared, no_local, displaces })))
    }
}

impl Identity {
    /// A shared subscription that is not durable.
    fn shared(
        &self,
        header: &str,
        name: &str,
        kind: DestinationKind,
        shared: Option<bool>,
        no_local: Option<bool>,
    ) -> Result<Option<Box<Durable>>, Fault> {
        let wrong = match (kind, shared, no_local) {
            _ if name.is_empty() => "must not be empty",
            (DestinationKind::Topic, Some(false), _) => {
                "is of a shared subscription: shared is true"
            }
            (DestinationKind::Topic, _, Some(true)) => {
                "is of a shared subscription: no-local:true is not for those"
            }
            (DestinationKind::Topic, ..) => {
                let name = self.name(name, false)?;
                let (is_shared, no_local, displaces) = (true, false, false);
                return Ok(Some(Box::new(Durable { name, is_shared, no_local, displaces })));
            }
            _ => "is of a subscription to topics: all consumers of a queue share it anyway",
        };
        Err(bad(format!("{header} {wrong}")))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Spelling {
    /// A header that contains the name.
    Name,
    /// `durable:true` and `auto-delete:false`: the name is the `x-queue-name`, or else the `id`.
    RabbitMq,
}

/// The name of the durable subscription that a frame gives, and how.
fn given(frame: &Frame) -> Result<Option<(&str, Spelling)>, Fault> {
    if let Some((header, name)) = NAMES.iter().find_map(|name| Some((name, frame.header(name)?))) {
        let name = Some(name).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| bad(format!("{header} must not be empty")))?;
        return Ok(Some((name, Spelling::Name)));
    }
    let is_durable = flag(frame, &["durable"])? == Some(true);
    let is_kept = flag(frame, &["auto-delete"])? != Some(true);
    if !is_durable || !is_kept {
        return Ok(None);
    }
    let name = frame.header("x-queue-name").or_else(|| frame.header("id"));
    let name = name.filter(|name| !name.is_empty());
    let missing = || bad(format!("{} with durable:true needs the header id", verb(frame)));
    Ok(Some((name.ok_or_else(missing)?, Spelling::RabbitMq)))
}

fn verb(frame: &Frame) -> &'static str {
    if frame.verb == Verb::Subscribe { "SUBSCRIBE" } else { "UNSUBSCRIBE" }
}

fn flag(frame: &Frame, names: &[&str]) -> Result<Option<bool>, Fault> {
    let given = names.iter().find_map(|name| Some((name, frame.header(name)?)));
    given
        .map(|(name, text)| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(bad(format!("{name} must be true or false"))),
        })
        .transpose()
}

fn bad(detail: impl Into<String>) -> Fault {
    Fault::malformed("bad durable subscription", detail)
}

/// Artemis's, which are the gateway's own, and ActiveMQ's.
const NAMES: [&str; 3] =
    ["durable-subscription-name", "durable-subscriber-name", "activemq.subscriptionName"];

/// Of shared subscriptions that are not durable: the gateway's own, and RabbitMQ's.
const SHARED_NAMES: [&str; 2] = ["shared-subscription-name", "x-queue-name"];
