//! What a path of the configuration leads to.

mod assembly;
mod broadcast;
mod content_coding;
pub(crate) mod directory;
mod echo;
pub(crate) mod operation;
pub(crate) mod pages;
mod proxy;
pub(crate) mod publish;
pub(crate) mod representation;

use contract::Refusal;
use http::{HeaderValue, Response, StatusCode, header};
use transports::Stream;

pub(crate) use broadcast::{feeds, keep_interests};

use crate::{
    body::{Body, text},
    config::ServiceKind,
    drive::{Admission, CoreRef, Role},
    registry,
};

/// Lets a WebSocket in to its service.
pub(crate) fn admit(core: &CoreRef, stream: Stream, admission: Admission<'_>, kind: &ServiceKind) {
    match kind {
        ServiceKind::Echo => {
            core.admit(stream, admission, |_, _| Role::Session(Box::<echo::Echo>::default()));
        }
        ServiceKind::Broadcast { .. } => {
            let topic = broadcast::topic(admission.service);
            core.admit(stream, admission, |_, _| {
                Role::Session(Box::new(broadcast::Broadcast::new(topic)))
            });
        }
        ServiceKind::Proxy { connect, text, connect_timeout } => {
            proxy::admit(core, stream, admission, connect, *text, *connect_timeout);
        }
        ServiceKind::Broker => {
            let named = Some(admission.subprotocol).filter(|name| !name.is_empty());
            let Some(protocol) = registry::by_subprotocol(named) else { return };
            core.admit(stream, admission, |opening, now| {
                Role::Session((protocol.open)(opening, now))
            });
        }
        ServiceKind::Pages
        | ServiceKind::Directory { .. }
        | ServiceKind::Topics
        | ServiceKind::Queues
        | ServiceKind::Metrics
        | ServiceKind::Health
        | ServiceKind::Readiness => {}
    }
}

/// The answer to a request that may not be, or not now.
pub(crate) fn refused(refusal: Refusal) -> Response<Body> {
    let status = match refusal {
        Refusal::Unauthenticated => return unauthenticated(&refusal.to_string()),
        Refusal::Forbidden => StatusCode::FORBIDDEN,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::Stale => StatusCode::CONFLICT,
        Refusal::Full | Refusal::Busy | Refusal::Limit => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = text(status, &refusal.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The answer to a request that must log in, or log in rightly (RFC 9110 15.5.2).
pub(crate) fn unauthenticated(line: &str) -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, line);
    let basic = HeaderValue::from_static("Basic realm=\"passerelle\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    response
}

#[cfg(test)]
mod tests {
    use testkit::{Peer, Random, Setup, Storm, Tally};

    use super::{broadcast, echo};

    #[global_allocator]
    static ALLOCATOR: testkit::Counting = testkit::Counting;

    #[test]
    fn an_echo_withstands_a_storm() {
        let tally = storm().rage(|_, _| echo::Echo::default(), words);
        assert!(tally.sends > 100_000, "{tally:?}");
    }

    #[test]
    fn a_broadcast_withstands_a_storm() {
        let open = |_: &contract::Opening<'_>, _| broadcast::Broadcast::new(broadcast::topic(1));
        let tally: Tally = storm().rage(open, words);
        assert!(tally.commands > 100_000, "{tally:?}");
        assert!(tally.deliveries > 10_000, "{tally:?}");
    }

    /// The bound leaves room for the recorder's own note of each token; a message that was kept
    /// each time would go far beyond it.
    fn storm() -> Storm {
        Storm::new(Setup::websocket(""), 256 << 10)
    }

    fn words(random: &mut Random, _: &mut Peer) -> Vec<u8> {
        (0..random.below(300)).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
    }
}
