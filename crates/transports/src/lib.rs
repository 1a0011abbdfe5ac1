//! Sockets: the reactor, HTTP and the WebSocket upgrade.
