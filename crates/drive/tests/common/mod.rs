//! What the gateways of these tests have in common.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use auth::{Access, Users};
use contract::{ConnectionLimits, Principal, QuotaLimits};
use drive::{Framing, Registration, Service, Settings};

/// One service, whose connections have these limits.
pub(crate) fn settings(limits: ConnectionLimits) -> Settings {
    let limits = Arc::new(limits);
    let service = Service {
        path: "/".into(),
        upstream: None,
        limits: Arc::clone(&limits),
        protocol_limits: Arc::default(),
    };
    Settings {
        services: vec![service],
        labels: vec!["test"],
        broker_limits: Arc::default(),
        queue_rules: contract::QueueRules::default(),
        client_rules: contract::ClientRules::default(),
        quotas: QuotaLimits::default(),
        limits,
        users: Users::default(),
        access: Access::default(),
        store: None,
        io_uring: false,
        unsent_bytes_max_per_core: 1 << 20,
        inbound_bytes_max: 64 << 20,
    }
}

/// A stream of a peer that needs no login.
pub(crate) fn registration(peer: SocketAddr) -> Registration<'static> {
    Registration {
        service: 0,
        protocol: "test",
        framing: Framing::Stream,
        ping_interval: Duration::ZERO,
        subprotocol: "",
        host: "",
        anonymous: false,
        principal: Some(Principal::anonymous()),
        users_version: 0,
        peer,
        permit: None,
        early: &[],
    }
}
