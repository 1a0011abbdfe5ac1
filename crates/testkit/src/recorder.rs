use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use contract::{
    Command, Credit, Kind, Login, Message, Outbox, Reason, SendBuffer, Settle, SubscriptionId,
    Token,
};

use crate::Random;

/// An outbox that records its calls, and checks what must hold for every session: nothing follows a
/// close, tokens are not used twice.
#[derive(Debug, Default)]
pub struct Recorder {
    outputs: Vec<Output>,
    closed: bool,
    tokens: BTreeSet<Token>,
    backlog: usize,
    random: Option<Random>,
    counter: u128,
    /// What was encoded in this turn, by message, kind and header.
    shared: BTreeMap<(usize, u8, Vec<u8>), Vec<u8>>,
    encodings: usize,
}

/// What a session wanted done.
#[derive(Clone, Debug)]
pub enum Output {
    /// [`Outbox::send`].
    Send(Kind, Vec<u8>),
    /// [`Outbox::send_shared`].
    Share(Kind, Vec<u8>),
    /// [`Outbox::command`].
    Command(Token, Command),
    /// [`Outbox::settle`].
    Settle(Settle, Option<Token>),
    /// [`Outbox::credit`].
    Credit(SubscriptionId, Credit),
    /// [`Outbox::login`].
    Login(Token, Login),
    /// [`Outbox::close`].
    Close(Reason, String),
}

impl Recorder {
    /// Message ids and random bits count up: 1, 2, 3.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Message ids count up, random bits come from the seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { random: Some(Random::new(seed)), ..Self::default() }
    }

    /// Takes what was recorded since the last call.
    pub fn take(&mut self) -> Vec<Output> {
        mem::take(&mut self.outputs)
    }

    /// Whether the session has closed the connection.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Sets what [`Outbox::backlog`] returns.
    pub const fn set_backlog(&mut self, bytes: usize) {
        self.backlog = bytes;
    }

    /// How often a shared frame was encoded.
    #[must_use]
    pub const fn encodings(&self) -> usize {
        self.encodings
    }

    /// Ends the turn: what was encoded in it is not shared any longer.
    pub fn end_turn(&mut self) {
        self.shared.clear();
    }

    fn push(&mut self, output: Output) {
        assert!(!self.closed, "{output:?} after the close");
        self.outputs.push(output);
    }

    fn use_token(&mut self, token: Token) {
        assert!(self.tokens.insert(token), "{token:?} is used twice");
    }

    fn count(&mut self) -> u128 {
        self.counter += 1;
        self.counter
    }
}

impl Outbox for Recorder {
    fn send(&mut self, kind: Kind, encode: &mut dyn FnMut(&mut SendBuffer)) {
        self.push(Output::Send(kind, encoded(encode)));
    }

    fn send_shared(
        &mut self,
        kind: Kind,
        message: &Arc<Message>,
        header: &[u8],
        encode: &mut dyn FnMut(&mut SendBuffer),
    ) {
        let key = (Arc::as_ptr(message) as usize, kind as u8, header.to_vec());
        let encodings = &mut self.encodings;
        let fresh = encoded(encode);
        let bytes = self.shared.entry(key).or_insert_with(|| {
            *encodings += 1;
            fresh.clone()
        });
        assert_eq!(*bytes, fresh, "header must name all that the encoding depends on");
        self.push(Output::Share(kind, fresh));
    }

    fn command(&mut self, token: Token, command: Command) {
        self.use_token(token);
        self.push(Output::Command(token, command));
    }

    fn settle(&mut self, settle: Settle, reply: Option<Token>) {
        if let Some(token) = reply {
            self.use_token(token);
        }
        self.push(Output::Settle(settle, reply));
    }

    fn credit(&mut self, subscription: SubscriptionId, credit: Credit) {
        assert_ne!(credit, Credit::Add(0), "a credit of nothing");
        self.push(Output::Credit(subscription, credit));
    }

    fn login(&mut self, token: Token, login: Login) {
        self.use_token(token);
        self.push(Output::Login(token, login));
    }

    fn close(&mut self, reason: Reason, message: &str, _: Option<&str>) {
        assert!(message.len() <= 123, "a WebSocket's close reason holds 123 bytes: {message:?}");
        self.push(Output::Close(reason, message.to_owned()));
        self.closed = true;
    }

    fn random(&mut self) -> u128 {
        match &mut self.random {
            Some(random) => u128::from(random.bits()) << 64 | u128::from(random.bits()),
            None => self.count(),
        }
    }

    fn message_id(&mut self) -> u128 {
        self.count()
    }

    fn backlog(&self) -> usize {
        self.backlog
    }
}

/// What is appended to a buffer.
fn encoded(encode: &mut dyn FnMut(&mut SendBuffer)) -> Vec<u8> {
    // The buffer is not empty: a session may only append.
    let mut buffer = SendBuffer::default();
    buffer.push(b'#');
    encode(&mut buffer);
    let mut bytes = buffer.to_vec();
    assert_eq!(bytes.first(), Some(&b'#'), "encode must only append");
    bytes.remove(0);
    bytes
}
