//! HTTP requests: the path picks the service, and a WebSocket handshake leaves for the reactor.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use auth::LoginId;
use config::{Directory, Listen, Scheme, Service, ServiceKind};
use contract::{Credentials, DestinationKind, Login, Principal, Refusal, Step, internal};
use drive::{
    AddressPermit, ConnectionPermit, Cores, DETAIL_CHARS_MAX, Decision, Framing, LimitReached,
    Refused, Registration, Requester, Subject, Waiter, excerpt,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
    request::Parts,
};
use hyper::body::Body as _;
use tokio::sync::oneshot;
use transports::{
    Closed, Stream,
    http1::{BadRequest, PeerWatch, RequestBody},
};
use websocket::{Accept, Reject, Subprotocol, Subprotocols};

use crate::{
    body::{Body, Line, empty, text},
    forwarded::Sender,
    gate::{self, Aim},
    gateway::{Gateway, Worker, index_u16},
    protocols::{HTTP, WEBSOCKET},
    services::{self, directory, operation, pages, publish, representation::read_only},
};

/// One HTTP connection.
pub(crate) struct Connection {
    worker: Worker,
    listen: usize,
    peer: SocketAddr,
    /// Who sends the request that is being served: HTTP/1.1 has one at a time.
    sender: Cell<Sender>,
    /// Its connection.
    watched: RefCell<Option<PeerWatch>>,
    upgrade: RefCell<Option<Upgrade>>,
}

/// A WebSocket handshake that was accepted with 101.
pub(crate) struct Upgrade {
    service: usize,
    accept: Accept,
    host: Box<str>,
    principal: Option<Principal>,
    users_version: u64,
    peer: SocketAddr,
    address: Option<AddressPermit>,
}

/// The response to a request that is refused.
type ErrorResponse = Box<Response<Body>>;

impl Connection {
    pub(crate) const fn new(worker: Worker, listen: usize, peer: SocketAddr) -> Self {
        let sender = Cell::new(Sender::of(peer));
        let watched = RefCell::new(None);
        Self { worker, listen, peer, sender, watched, upgrade: RefCell::new(None) }
    }

    /// The upgrade that the last response began.
    pub(crate) fn take_upgrade(&self) -> Option<Upgrade> {
        self.upgrade.borrow_mut().take()
    }

    /// Serves one request, and counts it and its response: the bytes are those of the bodies.
    pub(crate) async fn respond(&self, request: Request<RequestBody>) -> Response<Body> {
        let gateway = Arc::clone(&self.worker.gateway);
        let (head, body) = request.into_parts();
        self.find_sender(&gateway, &head.headers);
        self.watched.replace(Some(body.peer()));
        let host = match self.host(&gateway, &head) {
            Ok(host) => host,
            Err(response) => return *response,
        };
        if head.uri.path() == "*" {
            return options_of_all();
        }
        let routed = self.route(&gateway, &head).await;
        let service = routed.and_then(|(index, _)| gateway.config.services.get(index));
        if let Some(response) = self.misdirected(&gateway, service, &head) {
            return response;
        }
        let Some((index, rest)) = routed else { return not_found(NO_SERVICE, None) };
        let received = body.length().unwrap_or(0);
        let served = self.serve(&gateway, index, rest, &head, host, body).await;
        let response = served.unwrap_or_else(|response| *response);
        self.worker.core.with(|core| {
            let row = core.counters().row(index, core.counters().label(HTTP));
            row.messages_in.add(1);
            row.bytes_in.add(received);
            row.messages_out.add(1);
            row.bytes_out.add(response.body().size_hint().lower());
        });
        response
    }

    /// The address of the sender of the request, as far as it is known and believed.
    const fn peer(&self) -> SocketAddr {
        self.sender.get().address
    }

    /// The scheme by which the request came to the gateway, or to a proxy that is believed.
    fn scheme(&self, listen: &Listen) -> Scheme {
        match self.sender.get().is_https {
            Some(true) => Scheme::Https,
            Some(false) => Scheme::Http,
            None if listen.tls.is_empty() => Scheme::Http,
            None => Scheme::Https,
        }
    }

    fn find_sender(&self, gateway: &Gateway, headers: &HeaderMap) {
        let Some(listen) = self.listen(gateway) else { return };
        let sender = Sender::find(self.peer, headers, &listen.forwarded_from);
        self.sender.set(sender);
        if sender.is_contradictory
            && let Some(missed) = self.worker.may_log(|limiters| &mut limiters.forwarded)
        {
            tracing::warn!(
                peer = %self.peer,
                missed,
                "Forwarded and X-Forwarded-For do not agree, and neither is believed: let the proxy \
                 set one and remove the other"
            );
        }
    }

    /// Counts a WebSocket for whom a proxy says it is; other connections were counted when they
    /// came.
    fn address_permit(&self, gateway: &Gateway) -> Result<Option<AddressPermit>, ErrorResponse> {
        if self.peer() == self.peer {
            return Ok(None);
        }
        gateway.address_permit(self.listen, self.peer().ip()).map_err(|LimitReached| {
            self.worker.refuse_address(self.peer());
            let why = "this address has all connections that it may have";
            Box::new(text(StatusCode::TOO_MANY_REQUESTS, why))
        })
    }

    /// The response to what no service is to see.
    pub(crate) fn refuse(&self, bad: BadRequest) -> Response<Body> {
        self.worker.refuse(Refused::Protocol);
        tracing::debug!(peer = %self.peer(), reason = %bad, "HTTP request refused");
        text(bad.status(), &bad.to_string())
    }

    /// The host that the request names, which must be the gateway's; that of a probe does not matter.
    fn host<'h>(&self, gateway: &Gateway, head: &'h Parts) -> Result<&'h str, ErrorResponse> {
        let path = head.uri.path();
        let service = gateway.config.service(path);
        let service = service.and_then(|(index, _)| gateway.config.services.get(index));
        let Some(listen) = self.listen(gateway) else { return Ok("") };
        if service.is_some_and(|service| service.kind.is_probe()) {
            return Ok("");
        }
        gate::host(listen, self.scheme(listen), head).map_err(|refusal| {
            self.worker.refuse(Refused::Host);
            if let Some(missed) = self.worker.may_log(|limiters| &mut limiters.host) {
                let path: String = path.chars().take(LOGGED_CHARS_MAX).collect();
                tracing::info!(peer = %self.peer(), ?path, reason = %refusal, missed, "Host refused");
            }
            Box::new(text(refusal.status(), &refusal.to_string()))
        })
    }

    /// The service that a request reaches, and what follows its path. One for operators is, for all
    /// others, as if it did not exist: its path is like any other without a service.
    async fn route<'h>(&self, gateway: &Gateway, head: &'h Parts) -> Option<(usize, &'h str)> {
        let path = head.uri.path();
        let (index, rest) = gateway.config.service(path)?;
        let service = gateway.config.services.get(index)?;
        let is_open = !service.kind.is_for_operators()
            || (*service.path == *path && self.is_operator(gateway, &head.headers).await);
        if is_open { Some((index, rest)) } else { gateway.config.public_service(path) }
    }

    /// Whether the request comes by a listener for operators, or from a user who is one. The
    /// response never requires a login, which would tell that there is a service.
    ///
    /// Where a request comes from proves nothing: behind a proxy on this machine all come from
    /// this machine.
    async fn is_operator(&self, gateway: &Gateway, headers: &HeaderMap) -> bool {
        if self.listen(gateway).is_some_and(|listen| listen.operations) {
            return true;
        }
        let operators = &gateway.config.operations.roles;
        !operators.is_empty()
            && headers.contains_key(header::AUTHORIZATION)
            && self.identify(gateway, headers).await.is_ok_and(|(principal, _)| {
                principal.roles.iter().any(|role| operators.contains(role))
            })
    }

    /// The response to a request that reaches another service than it meant, or none.
    fn misdirected(
        &self,
        gateway: &Gateway,
        service: Option<&Service>,
        head: &Parts,
    ) -> Option<Response<Body>> {
        let path = head.uri.path();
        let kind = service.map(|service| &service.kind);
        // In HTTP/1.0 the header means nothing (RFC 9110 section 7.8).
        if head.method == Method::GET
            && head.version == http::Version::HTTP_11
            && websocket::is_upgrade(&head.headers)
            && !kind.is_some_and(ServiceKind::takes_websockets)
        {
            self.worker.refuse(Refused::Handshake);
            if let Some(missed) = self.worker.may_log(|limiters| &mut limiters.handshake) {
                let services = gateway.config.services.iter();
                let taken: Vec<_> = services
                    .filter(|service| service.kind.takes_websockets())
                    .map(|service| &*service.path)
                    .collect();
                tracing::info!(
                    peer = %self.peer(),
                    path = ?path.chars().take(LOGGED_CHARS_MAX).collect::<String>(),
                    missed,
                    "WebSocket handshake refused: WebSockets are taken at {}",
                    if taken.is_empty() { "no path".to_owned() } else { taken.join(", ") },
                );
            }
            let near = gateway.config.near(path, ServiceKind::takes_websockets);
            return Some(not_found("no WebSocket is taken at this path", near));
        }
        let publishes = |kind: &_| matches!(kind, ServiceKind::Topics | ServiceKind::Queues);
        let is_page =
            matches!(kind, None | Some(ServiceKind::Pages | ServiceKind::Directory { .. }));
        if head.method == Method::POST && is_page {
            let near = gateway.config.near(path, publishes)?;
            return Some(not_found(NO_SERVICE, Some(near)));
        }
        None
    }

    async fn serve(
        &self,
        gateway: &Gateway,
        index: usize,
        rest: &str,
        head: &Parts,
        host: &str,
        body: RequestBody,
    ) -> Result<Response<Body>, ErrorResponse> {
        let Some(service) = gateway.config.services.get(index) else {
            return Ok(not_found(NO_SERVICE, None));
        };
        let is_read_only = service.kind.is_probe() || service.kind.is_for_operators();
        if is_read_only && let Some(response) = read_only(&head.method) {
            return Ok(response);
        }
        if service.kind.takes_websockets() {
            self.upgrade(gateway, index, service, head, host).await
        } else {
            let mut response = self.dispatch(gateway, index, service, rest, head, body).await?;
            if service.kind.is_read_by_pages() && service.allow_origins.is_empty() {
                let same_site = HeaderValue::from_static("same-site");
                response.headers_mut().insert(CROSS_ORIGIN_RESOURCE_POLICY, same_site);
            }
            Ok(response)
        }
    }

    async fn dispatch(
        &self,
        gateway: &Gateway,
        index: usize,
        service: &Service,
        rest: &str,
        head: &Parts,
        body: RequestBody,
    ) -> Result<Response<Body>, ErrorResponse> {
        let publishes = matches!(service.kind, ServiceKind::Topics | ServiceKind::Queues);
        let aim = if head.method.is_safe() { Aim::Read } else { Aim::Act };
        let origin = if publishes || aim == Aim::Act {
            self.origin(gateway, service, &head.headers, aim)?
        } else {
            None
        };
        match &service.kind {
            ServiceKind::Health => Ok(operation::health()),
            ServiceKind::Readiness => Ok(operation::readiness(*gateway.phase.borrow())),
            ServiceKind::Metrics => Ok(operation::metrics(gateway).await),
            ServiceKind::Pages => self.file(gateway, service, None, rest, head).await,
            ServiceKind::Directory(directory) => {
                self.file(gateway, service, Some(directory), rest, head).await
            }
            kind @ (ServiceKind::Topics | ServiceKind::Queues) => {
                let kind = if *kind == ServiceKind::Topics {
                    DestinationKind::Topic
                } else {
                    DestinationKind::Queue
                };
                let mut response = if head.method == Method::OPTIONS {
                    preflight()
                } else {
                    self.publish(gateway, index, service, kind, rest, head, body).await
                };
                if let Some(origin) = origin {
                    allow_origin(&mut response, origin);
                }
                Ok(response)
            }
            // WebSockets are seen to elsewhere.
            ServiceKind::Echo
            | ServiceKind::Broadcast { .. }
            | ServiceKind::Proxy { .. }
            | ServiceKind::Broker => Ok(text(StatusCode::NOT_FOUND, "this is for WebSockets")),
        }
    }

    /// A file of a directory, or of the pages that are part of the binary.
    async fn file(
        &self,
        gateway: &Gateway,
        service: &Service,
        directory: Option<&Directory>,
        rest: &str,
        head: &Parts,
    ) -> Result<Response<Body>, ErrorResponse> {
        self.identify(gateway, &head.headers).await?;
        let path = head.uri.path();
        if rest.is_empty() && !path.ends_with('/') {
            return Ok(directory::with_slash(path));
        }
        let (method, headers) = (&head.method, &head.headers);
        Ok(match directory {
            Some(Directory { root, welcome }) => {
                directory::respond(root, welcome, rest, method, headers).await
            }
            None => {
                // Only who is told more is asked who it is.
                let is_operator = rest == pages::ABOUT && self.is_operator(gateway, headers).await;
                let visit = pages::Visit {
                    config: &gateway.config,
                    about: &gateway.about,
                    listen: self.listen(gateway),
                    is_operator,
                    base: &service.path,
                };
                pages::respond(&visit, rest, method, headers)
            }
        })
    }

    async fn publish(
        &self,
        gateway: &Gateway,
        index: usize,
        service: &Service,
        kind: DestinationKind,
        rest: &str,
        head: &Parts,
        body: RequestBody,
    ) -> Response<Body> {
        let (principal, response) = if head.method != Method::POST {
            let mut response =
                text(StatusCode::METHOD_NOT_ALLOWED, "publish here with POST: curl -d 'hello' URL");
            let allow = HeaderValue::from_static("POST, OPTIONS");
            response.headers_mut().insert(header::ALLOW, allow);
            (None, response)
        } else {
            match self.identify(gateway, &head.headers).await {
                Err(response) => (None, *response),
                Ok((principal, users_version)) => {
                    let limits = &service.limits.connection;
                    let subject = Subject {
                        principal: Some(&principal),
                        peer: self.peer(),
                        service: index_u16(index),
                        protocol: HTTP,
                        connection: None,
                        is_logged: true,
                    };
                    let core = &self.worker.core;
                    let response = publish::post(
                        core,
                        gateway,
                        limits,
                        &subject,
                        users_version,
                        kind,
                        rest,
                        head,
                        body,
                    );
                    let response = response.await;
                    (Some(principal), response)
                }
            }
        };
        // What is denied was logged where that was decided.
        if !response.status().is_success() && response.status() != StatusCode::FORBIDDEN {
            self.log_refusal(service, head, principal.as_ref(), &response);
        }
        response
    }

    /// Says in the log what a publisher was told instead of success.
    fn log_refusal(
        &self,
        service: &Service,
        head: &Parts,
        principal: Option<&Principal>,
        response: &Response<Body>,
    ) {
        let (peer, path) = (self.peer(), &service.path);
        let principal = principal.map(|principal| &*principal.name);
        let Some(missed) = self.worker.may_log(|limiters| &mut limiters.publication) else {
            return;
        };
        let detail = response.extensions().get::<Line>().map(|line| &*line.0);
        tracing::info!(
            %peer,
            service = %path,
            path = &*excerpt(head.uri.path(), DETAIL_CHARS_MAX),
            principal,
            status = response.status().as_u16(),
            detail = detail.map(|detail| excerpt(detail, DETAIL_CHARS_MAX)).as_deref(),
            missed,
            "HTTP publication refused"
        );
    }

    async fn upgrade(
        &self,
        gateway: &Gateway,
        index: usize,
        service: &Service,
        head: &Parts,
        host: &str,
    ) -> Result<Response<Body>, ErrorResponse> {
        let broker_subprotocols = gateway.protocols.subprotocols();
        let is_broker = service.kind == ServiceKind::Broker;
        let subprotocols =
            if is_broker { Subprotocols::Of(&broker_subprotocols) } else { Subprotocols::Any };
        let wanted = websocket::Service { subprotocols, deflate: service.websocket.compression };
        let accept = websocket::handshake(&head.method, head.version, &head.headers, &wanted)
            .map_err(|reject| self.reject(&reject, service))?;
        if is_broker && accept.subprotocol == Subprotocol::Unsupported {
            return Err(self.reject(&Reject::Subprotocol(broker_subprotocols.join(", ")), service));
        }
        self.origin(gateway, service, &head.headers, Aim::WebSocket)?;
        // STOMP may log in later, by its own CONNECT.
        let later = is_broker && credentials(&head.headers).is_err();
        let (principal, users_version) = if later {
            (None, 0)
        } else {
            let (principal, users_version) = self.identify(gateway, &head.headers).await?;
            (Some(principal), users_version)
        };
        let address = self.address_permit(gateway)?;
        let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
        response.headers_mut().clone_from(&accept.headers);
        self.upgrade.replace(Some(Upgrade {
            service: index,
            accept,
            host: host.into(),
            principal,
            users_version,
            peer: self.peer(),
            address,
        }));
        Ok(response)
    }

    fn reject(&self, reject: &Reject, service: &Service) -> ErrorResponse {
        self.worker.refuse(Refused::Handshake);
        if let Some(missed) = self.worker.may_log(|limiters| &mut limiters.handshake) {
            tracing::info!(
                peer = %self.peer(),
                service = %service.path,
                reason = %reject,
                missed,
                "WebSocket handshake refused"
            );
        }
        let mut response = text(reject.status(), &reject.to_string());
        for (name, value) in &reject.headers() {
            response.headers_mut().append(name, value.clone());
        }
        Box::new(response)
    }

    /// Refuses the pages of other origins. Returns the origin, if there is one.
    fn origin<'h>(
        &self,
        gateway: &Gateway,
        service: &Service,
        headers: &'h HeaderMap,
        aim: Aim,
    ) -> Result<Option<&'h HeaderValue>, ErrorResponse> {
        let Some(listen) = self.listen(gateway) else { return Ok(None) };
        gate::origin(listen, self.scheme(listen), service, headers, aim).map_err(|refusal| {
            self.worker.refuse(Refused::Origin);
            if let Some(missed) = self.worker.may_log(|limiters| &mut limiters.origin) {
                tracing::info!(
                    peer = %self.peer(),
                    service = %service.path,
                    reason = %refusal,
                    missed,
                    "origin refused"
                );
            }
            Box::new(text(StatusCode::FORBIDDEN, &refusal.to_string()))
        })
    }

    /// Who sends the request: by HTTP Basic, or anonymous where that is allowed. With the
    /// [`Cores::users_version`] by which that is so.
    async fn identify(
        &self,
        gateway: &Gateway,
        headers: &HeaderMap,
    ) -> Result<(Principal, u64), ErrorResponse> {
        let shown = credentials(headers);
        let login = shown.clone().map_or(Login::Anonymous, Login::Password);
        let anonymous = self.listen(gateway).is_some_and(|listen| listen.anonymous);
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter {
            requester: Requester::Task(sender),
            address: self.peer().ip(),
            protocol: HTTP,
        };
        let (reply, users_version) = match gateway.cores.login(&login, None, anonymous, waiter) {
            Decision::Done(outcome, users_version) => (outcome, users_version),
            Decision::Challenge(_, challenge) => (Ok(Step::Challenge(challenge)), 0),
            Decision::Later(id) => {
                let _gone = CancelOnDrop(&gateway.cores, id);
                tokio::select! {
                    reply = receiver => reply.unwrap_or((Err(Refusal::Busy), 0)),
                    () = self.hung_up(gateway, id) => (Err(Refusal::Busy), 0),
                }
            }
        };
        let accepted = reply.and_then(|step| match step {
            Step::Accepted(principal, _) => Ok((principal, users_version)),
            Step::Challenge(_) => {
                internal!("a challenge to HTTP Basic");
                Err(Refusal::Busy)
            }
        });
        accepted.map_err(|refusal| {
            self.worker.refuse(Refused::Login);
            Box::new(match (refusal, shown) {
                (Refusal::Unauthenticated, Err(none)) => services::unauthenticated(&none),
                (refusal, _) => services::refused(refusal),
            })
        })
    }

    /// Waits until the sender of a request that waits for a login has gone, or may have and is one
    /// of too many.
    async fn hung_up(&self, gateway: &Gateway, id: LoginId) {
        let watched = self.watched.borrow().clone();
        loop {
            tokio::time::sleep(WATCH_EACH).await;
            let is_there = match watched.as_ref().map_or(Closed::All, PeerWatch::closed) {
                Closed::Nothing => true,
                Closed::Side => gateway.cores.half_closed(id),
                Closed::All => false,
            };
            if !is_there {
                return;
            }
        }
    }

    fn listen<'g>(&self, gateway: &'g Gateway) -> Option<&'g Listen> {
        gateway.config.listens.get(self.listen)
    }
}

/// A request is dropped when its connection ends: its login is required no more.
struct CancelOnDrop<'a>(&'a Cores, LoginId);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel_login(self.1);
    }
}

/// The name and password that a request shows by HTTP Basic, or what to say where a login is
/// required.
///
/// What is not well-formed Basic counts as no credentials: proxies and browsers add what is meant
/// for others. `Authorization` is no list (RFC 9110 11.6.2), so that of several none counts.
fn credentials(headers: &HeaderMap) -> Result<Credentials, String> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next(), values.next()) else {
        return Err(format!("{LOG_IN}; this request has several Authorization headers"));
    };
    match value.map(HeaderValue::as_bytes).map(<[u8]>::trim_ascii) {
        None | Some([]) => Err(LOG_IN.to_owned()),
        Some(value) => auth::basic(value).map_err(|error| format!("{LOG_IN}; {error}")),
    }
}

/// Moves a connection whose handshake was accepted into the reactor.
pub(crate) fn upgrade(
    worker: &Worker,
    stream: Stream,
    early: &[u8],
    upgrade: Upgrade,
    listen: usize,
    mut permit: ConnectionPermit,
) {
    let config = &worker.gateway.config;
    let Some(service) = config.services.get(upgrade.service) else { return };
    let subprotocol = match &upgrade.accept.subprotocol {
        Subprotocol::Chosen(name) => Some(name.as_str()),
        Subprotocol::None | Subprotocol::Unsupported => None,
    };
    let spoken = if service.kind == ServiceKind::Broker {
        worker.gateway.protocols.by_subprotocol(subprotocol)
    } else {
        None
    };
    let subprotocol = subprotocol.unwrap_or_default();
    if upgrade.address.is_some() {
        permit.count_among(upgrade.address);
    }
    let is_pinged = spoken.is_none_or(|protocol| protocol.is_pinged);
    let ping_interval = service.websocket.ping.get(subprotocol).copied();
    let by_default =
        if is_pinged { service.limits.connection.ping_interval } else { Duration::ZERO };
    let registration = Registration {
        service: index_u16(upgrade.service),
        protocol: spoken.map_or(WEBSOCKET, |protocol| protocol.label),
        framing: Framing::WebSocket {
            version: upgrade.accept.version,
            deflate: upgrade.accept.deflate,
        },
        ping_interval: ping_interval.unwrap_or(by_default),
        subprotocol,
        host: &upgrade.host,
        anonymous: config.listens.get(listen).is_some_and(|listen| listen.anonymous),
        principal: upgrade.principal,
        users_version: upgrade.users_version,
        peer: upgrade.peer,
        permit: Some(permit),
        early,
    };
    services::register(worker, stream, registration, &service.kind);
}

fn not_found(why: &str, near: Option<String>) -> Response<Body> {
    match near {
        Some(near) => text(StatusCode::NOT_FOUND, &format!("{why}; did you mean {near}?")),
        None => text(StatusCode::NOT_FOUND, why),
    }
}

/// The response to `OPTIONS *`: what some service or other does (RFC 9110 section 9.3.7).
fn options_of_all() -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let allow = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn preflight() -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("POST");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let names = HeaderValue::from_static(
        "authorization, content-encoding, content-type, delivery-delay, persistent",
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    response
}

fn allow_origin(response: &mut Response<Body>, origin: &HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

/// Browsers then keep what a page of another site embeds, a script of a directory for one, from it.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const NO_SERVICE: &str = "there is no service at this path";
/// Time between looks whether the sender of a request that waits for a login is still there: some
/// hashes.
const WATCH_EACH: Duration = Duration::from_millis(100);
/// Characters of a path that are logged.
const LOGGED_CHARS_MAX: usize = 200;
const LOG_IN: &str = "log in with a name and a password, by HTTP Basic: curl -u NAME:PASSWORD URL";
