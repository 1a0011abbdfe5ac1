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
    let roots = has_tls.then(|| tls::roots(proxy)).transpose()?;
    let address = |server: &Server| {
        let HostPort { host, port } = server.address.clone();
        let roots = roots.clone().filter(|_| server.scheme.has_tls());
        let tls = roots.map(|roots| tls::client(proxy, roots, server)).transpose()?;
        let resource = || Resource { host: server.authority().into(), path: server.path.clone() };
        let websocket = server.scheme.is_websocket().then(resource);
        Ok(UpstreamAddress { label: server.to_string().into(), host, port, tls, websocket })
    };
    let addresses = proxy.connect.iter().map(address).collect::<Result<_, _>>()?;
    Ok(Upstream::new(addresses, proxy.connect_timeout, proxy.proxy_protocol))
}
