//! Which client a connection is: its home decides.

use contract::{ClientName, ConnectionId, Contest, Notice, Refusal, Token, internal};

use super::Front;
use crate::{event::Effect, output::ShardOutput, shard_message::ToHome};

impl Front {
    pub(super) fn claim(
        &mut self,
        connection: ConnectionId,
        token: Token,
        client: ClientName,
        contest: Contest,
        output: &mut ShardOutput<'_>,
    ) {
        let home = self.home_of(client.as_levels());
        let Some(claimed) = self.clients.get_mut(&connection).map(|one| &mut one.claimed) else {
            internal!("a command of a connection that is not open");
            return self.reply(connection, token, Err(Refusal::Busy), output);
        };
        if claimed.is_some() {
            return self.reply(connection, token, Err(Refusal::Limit), output);
        }
        let client = Box::new(client);
        *claimed = Some(client.clone());
        output.send_home(home, ToHome::Claim { connection, token, client, contest });
    }

    /// Another connection takes the client id of this one.
    pub(super) fn displace_client(&self, connection: ConnectionId, output: &mut ShardOutput<'_>) {
        // One that has gone has released it.
        if self.clients.get(&connection).is_some_and(|client| client.claimed.is_some()) {
            output.effects.push(Effect::Notice(connection, Notice::Displaced));
        }
    }

    /// A connection is its client no more. What it subscribed to has ended before.
    pub(super) fn release(
        &self,
        connection: ConnectionId,
        claimed: Option<Box<ClientName>>,
        output: &mut ShardOutput<'_>,
    ) {
        if let Some(client) = claimed {
            let home = self.home_of(client.as_levels());
            output.send_home(home, ToHome::Release { connection, client });
        }
    }
}
