//! Client ids: which connection is which client. A client's home is that of its name.
//!
//! ```text
//! front of a connection     home of the client         front of the one that has it
//!   Claim ----------------->  free: its own
//!          <---- Replied ---
//!   Claim ----------------->  displaces: -- DisplaceClient ->  notice; it ends
//!                                        <------- Release ---
//!          <---- Replied ---
//! ```
//!
//! Who would rather be refused waits for a moment too: a client that has lost its connection comes back
//! before the gateway has seen the end of that.

use std::collections::VecDeque;

use contract::{ClientName, ConnectionId, Contest, Refusal, Reply, Token};
use wire::Map;

use super::{Home, replied};
use crate::{output::ShardOutput, shard_message::ToFront, stats::Stats};

/// The clients that have their home on a core.
#[derive(Debug, Default)]
pub(super) struct Clients {
    claims: Map<ClientName, Claim>,
    /// Those that are refused unless they get their client until then, on the monotonic clock, in order.
    /// Some may have.
    waiting: VecDeque<(u64, ConnectionId, ClientName)>,
    refused: u64,
    displaced: u64,
}

/// Who is a client.
#[derive(Debug)]
struct Claim {
    holder: ConnectionId,
    /// It is to end.
    is_displaced: bool,
    /// Who will be, in order. Each connection claims once, so there are as many as connections at most.
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    connection: ConnectionId,
    token: Token,
    contest: Contest,
}

impl Home {
    pub(super) fn claim(
        &mut self,
        connection: ConnectionId,
        token: Token,
        client: ClientName,
        contest: Contest,
        output: &mut ShardOutput<'_>,
    ) {
        let Some(claim) = self.clients.claims.get_mut(&client) else {
            let claim = Claim { holder: connection, is_displaced: false, waiting: VecDeque::new() };
            self.clients.claims.insert(client, claim);
            return replied(connection, token, Ok(Reply::Done), output);
        };
        claim.waiting.push_back(Waiting { connection, token, contest });
        match contest {
            Contest::Displace => self.clients.displaced += u64::from(claim.displace(output)),
            Contest::Refuse => {
                let until = output.now.mono_ns.saturating_add(WAIT_NS);
                self.clients.waiting.push_back((until, connection, client));
            }
        }
    }

    /// A connection has gone: the next has its client, if there is one.
    pub(super) fn release_client(
        &mut self,
        connection: ConnectionId,
        client: &ClientName,
        output: &mut ShardOutput<'_>,
    ) {
        // Without it, the connection was refused.
        let Some(claim) = self.clients.claims.get_mut(client) else { return };
        claim.waiting.retain(|waiting| waiting.connection != connection);
        if claim.holder != connection {
            return;
        }
        let Some(next) = claim.waiting.pop_front() else {
            self.clients.claims.remove(client);
            return;
        };
        (claim.holder, claim.is_displaced) = (next.connection, false);
        replied(next.connection, next.token, Ok(Reply::Done), output);
        if claim.waiting.iter().any(|waiting| waiting.contest == Contest::Displace) {
            self.clients.displaced += u64::from(claim.displace(output));
        }
    }

    /// Refuses those whose client has not become free in time.
    pub(super) fn refuse_claims(&mut self, output: &mut ShardOutput<'_>) {
        let Clients { claims, waiting, refused, .. } = &mut self.clients;
        let now_ns = output.now.mono_ns;
        while let Some((_, connection, client)) = waiting.pop_front_if(|(at, ..)| *at <= now_ns) {
            let Some(claim) = claims.get_mut(&client) else { continue };
            let index = claim.waiting.iter().position(|one| one.connection == connection);
            if let Some(one) = index.and_then(|index| claim.waiting.remove(index)) {
                *refused += 1;
                replied(connection, one.token, Err(Refusal::ClientIdInUse), output);
            }
        }
    }

    pub(super) fn add_client_stats(&self, stats: &mut Stats) {
        stats.clients = self.clients.claims.len();
        stats.clients_refused = self.clients.refused;
        stats.clients_displaced = self.clients.displaced;
    }

    pub(super) fn assert_no_clients(&self) {
        assert_eq!(self.clients.claims.len(), 0, "clients");
    }
}

impl Claim {
    /// Tells who has the client to end; `false`: it was told.
    fn displace(&mut self, output: &mut ShardOutput<'_>) -> bool {
        let connection = self.holder;
        let is_new = !std::mem::replace(&mut self.is_displaced, true);
        if is_new {
            output.send_front(connection.core, ToFront::DisplaceClient { connection });
        }
        is_new
    }
}

/// How long who would rather be refused waits.
const WAIT_NS: u64 = 500_000_000;
