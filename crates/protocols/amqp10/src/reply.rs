use contract::{Refusal, Reply, Token};

use crate::{
    disposition::settle_sent,
    error::AmqpError,
    link::LinkState,
    open::{Context, Open},
    pending::Request,
    transfer::Arrived,
};

impl Open {
    /// Works on the broker's reply.
    pub(crate) fn replied(
        &mut self,
        token: Token,
        result: Result<Reply, Refusal>,
        cx: &mut Context<'_>,
    ) {
        let Some(request) = self.pending.replied(token) else { return };
        let refusal = result.err();
        match request {
            Request::Publish { link, session, delivery, is_settled, is_temporary } => {
                let incoming = self.links.get_mut(&link).and_then(|one| one.incoming_mut());
                // That of one that has ended is given back already.
                if let Some(incoming) = incoming.filter(|incoming| incoming.in_flight > 0) {
                    incoming.in_flight -= 1;
                    self.credit_used -= 1;
                }
                let (format, transaction) = (0, None);
                let arrived = Arrived { link, session, delivery, is_settled, format, transaction };
                match refusal {
                    None => self.accept(&arrived, None, cx),
                    // The one who wanted the reply has gone: that is no error of who replies.
                    Some(Refusal::NotFound) if is_settled && is_temporary => {}
                    Some(refusal) => self.reject(&arrived, &AmqpError::refused(refusal), cx),
                }
                self.replenish(link, cx);
            }
            Request::Declare(id) => match refusal {
                None => {
                    if self.links.get(&id).is_some_and(|link| link.outgoing().is_none()) {
                        self.attached(id, cx);
                    }
                }
                Some(refusal) => {
                    let temporary = self.links.get_mut(&id).and_then(|link| link.temporary.take());
                    if let Some(destination) = temporary {
                        self.forget_temporary(&destination);
                    }
                    self.fail(id, &AmqpError::refused(refusal), true, cx);
                }
            },
            Request::Subscribe(id) => match refusal {
                None => self.attached(id, cx),
                Some(refusal) => self.cancelled(id, refusal, cx),
            },
            Request::Unsubscribe(id, reads) => {
                self.detached(id, cx);
                self.stopped_reading(reads, cx);
            }
            Request::Delete(id) => match refusal {
                None => self.detached(id, cx),
                Some(refusal) => {
                    if let Some(link) = self.links.get_mut(&id)
                        && matches!(link.state, LinkState::Closing { .. })
                    {
                        self.detached_with(id, Some(&AmqpError::refused(refusal)), cx);
                    }
                }
            },
            Request::Find(id) => match refusal {
                None => self.attached(id, cx),
                Some(_) => {
                    let what = "there is no such durable subscription";
                    let error = AmqpError::new(crate::error::NOT_FOUND, what);
                    self.fail(id, &error, false, cx);
                }
            },
            Request::Drain(id) => self.drained(id, cx),
            Request::Settle { session, ids, verdict } => {
                if self.has_session(session) {
                    settle_sent(session.channel, ids, verdict, cx);
                }
            }
            Request::Discharge { link, session, delivery, is_settled, transaction } => {
                let format = 0;
                let arrived =
                    Arrived { link, session, delivery, is_settled, format, transaction: None };
                self.discharged(&arrived, transaction, refusal, cx);
            }
            Request::Nothing => {}
        }
    }
}
