//! The protocols, in one table.

use passerelle_http::{Protocol, Protocols};

/// All of them.
pub(crate) const PROTOCOLS: Protocols = Protocols {
    broker: &[
        Protocol {
            label: "stomp",
            subprotocols: &["v12.stomp", "v11.stomp", "v10.stomp"],
            detect: stomp::detect,
            without_tls: b"ERROR\nmessage:this port speaks TLS\n\n\
                connect with TLS, or to a port without it\n\0",
            is_pinged: true,
            open: |opening, now| Box::new(stomp::Session::open(opening, now)),
        },
        Protocol {
            label: "amqp10",
            subprotocols: &["amqp"],
            detect: amqp10::detect,
            // The header of AMQP over TLS, which the port wants.
            without_tls: b"AMQP\x02\x01\x00\x00",
            // A ping ends Apache Qpid JMS. Empty frames keep the connection alive.
            is_pinged: false,
            open: |opening, now| Box::new(amqp10::Connection::open(opening, now)),
        },
    ],
    echo: || Box::<echo::Echo>::default(),
    broadcast: |topic| Box::new(broadcast::Broadcast::new(topic)),
    proxy: |text| Box::new(proxy::Proxy::new(text)),
};
