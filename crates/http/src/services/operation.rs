use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    body::{Body, full, text},
    exposition::{self, Process, Snapshot},
    gateway::{Gateway, Phase},
};

/// The process lives.
pub(crate) fn health() -> Response<Body> {
    text(StatusCode::OK, "ok")
}

/// Whether it takes new connections.
pub(crate) fn readiness(phase: Phase) -> Response<Body> {
    match phase {
        Phase::Serving => text(StatusCode::OK, "ready"),
        Phase::Leaving | Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}

/// All that is counted, for Prometheus.
pub(crate) async fn metrics(gateway: &Gateway) -> Response<Body> {
    let snapshot = Snapshot::take(gateway).await;
    let text = exposition::render(snapshot, Process::read().await);
    let mut response = Response::new(full(text));
    let content_type = HeaderValue::from_static(exposition::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
