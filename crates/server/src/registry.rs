//! The protocols, in one table.

use passerelle_http::{Protocol, Protocols};

/// All of them.
pub(crate) const PROTOCOLS: Protocols = Protocols {
    broker: &[Protocol {
        label: "stomp",
        subprotocols: &["v12.stomp", "v11.stomp", "v10.stomp"],
        detect: stomp::detect,
        without_tls: b"ERROR\nmessage:this port speaks TLS\n\n\
            connect with TLS, or to a port without it\n\0",
        open: |opening, now| Box::new(stomp::Session::open(opening, now)),
    }],
    echo: || Box::<echo::Echo>::default(),
    broadcast: |topic| Box::new(broadcast::Broadcast::new(topic)),
    proxy: |text| Box::new(proxy::Proxy::new(text)),
};
