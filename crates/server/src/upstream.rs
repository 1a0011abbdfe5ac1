//! From the configuration of a proxy to what its connections are relayed to.

use config::{HostPort, Proxy, Server, ServiceKind};
use drive::{Resource, Upstream, UpstreamAddress};

use crate::tls::{self, CertificateError};

/// The upstream of a service; `None`: it relays nothing.
///
/// # Errors
/// When the certificates that are to be trusted cannot be used.
pub(crate) fn open(kind: &ServiceKind) -> Result<Option<Upstream>, CertificateError> {
    match kind {
        ServiceKind::Proxy(proxy) => of_proxy(proxy).map(Some),
        ServiceKind::Pages
        | ServiceKind::Echo
        | ServiceKind::Broadcast { .. }
        | ServiceKind::Directory { .. }
        | ServiceKind::Broker
        | ServiceKind::Topics
        | ServiceKind::Queues
        | ServiceKind::Metrics
        | ServiceKind::Health
        | ServiceKind::Readiness => Ok(None),
    }
}

fn of_proxy(proxy: &Proxy) -> Result<Upstream, CertificateError> {
    let has_tls = proxy.connect.iter().any(|server| server.scheme.has_tls());
    let roots = has_tls.then(|| tls::roots(proxy.ca.as_deref())).transpose()?;
    let address = |server: &Server| {
        let HostPort { host, port } = server.address.clone();
        let roots = roots.clone().filter(|_| server.scheme.has_tls());
        let tls = roots.map(|roots| tls::client(proxy, roots, server)).transpose()?;
        let resource = || Resource { host: server.authority().into(), path: server.path.clone() };
        let websocket = server.scheme.is_websocket().then(resource);
        Ok(UpstreamAddress { label: server.to_string().into(), host, port, tls, websocket })
    };
    let mut addresses: Vec<_> = proxy.connect.iter().map(address).collect::<Result<_, _>>()?;
    tell_apart(&mut addresses);
    Ok(Upstream::new(addresses, proxy.connect_timeout, proxy.proxy_protocol))
}

/// Numbers those that look the same, since their queries are not shown.
fn tell_apart(addresses: &mut [UpstreamAddress]) {
    let labels: Vec<_> = addresses.iter().map(|address| address.label.clone()).collect();
    for (index, address) in addresses.iter_mut().enumerate() {
        let before = labels.iter().take(index).filter(|label| **label == address.label).count();
        if before > 0 {
            address.label = format!("{}#{}", address.label, before + 1).into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_not_shown_and_labels_differ() {
        let text = r#"
            [[service]]
            path = "/p"
            type = "proxy"
            connect = ["ws://a/ws?token=one", "ws://a/ws?token=two", "ws://b:1/?key=3", "ws://a/ws"]
        "#;
        let config = config::Config::parse(text, "test.toml").unwrap();
        let kind = &config.services.first().unwrap().kind;
        let upstream = open(kind).unwrap().unwrap();
        let labels: Vec<_> = upstream.stats().map(|stats| stats.label).collect();
        let expected = ["ws://a/ws", "ws://a/ws#2", "ws://b:1/", "ws://a/ws#3"];
        assert!(labels.iter().map(|label| &**label).eq(expected), "{labels:?}");
    }
}
