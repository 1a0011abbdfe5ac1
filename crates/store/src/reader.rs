use std::sync::{Arc, Mutex};

use broker::{QueueId, QueuePosition};
use contract::Message;

use crate::{
    change::BodyId,
    error::{StoreError, doing},
    index::{Index, Place},
    log::lock,
    message,
    record::{self, Kind},
    segment,
};

/// Reads messages from the disk: on any thread that may wait for it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    index: Arc<Mutex<Index>>,
}

impl Reader {
    pub(crate) const fn new(index: Arc<Mutex<Index>>) -> Self {
        Self { index }
    }

    pub(crate) fn index(&self) -> &Mutex<Index> {
        &self.index
    }

    /// Reads what an index contains.
    pub(crate) fn of(index: Index) -> Self {
        Self::new(Arc::new(Mutex::new(index)))
    }

    /// Reads a message; `None`: it is in no queue any more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when its bytes are not those that were written, and when the disk
    /// cannot be read.
    pub fn read(&self, body: BodyId) -> Result<Option<Message>, StoreError> {
        let mut place = self.place(body);
        while let Some(at) = place {
            let outcome = self.read_at(body, at);
            if matches!(outcome, Ok(Some(_))) {
                return outcome;
            }
            // Meanwhile it may have been moved, and its segment be used anew.
            place = self.place(body);
            if place == Some(at) {
                return outcome;
            }
        }
        Ok(None)
    }

    /// As [`Reader::read`], of what is at this position of a queue: as soon as it was reported as stored,
    /// synced or not.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_from(
        &self,
        queue: &QueueId,
        position: QueuePosition,
    ) -> Result<Option<Message>, StoreError> {
        let body = {
            let index = lock(&self.index);
            let synced = index.queues.get(queue);
            let synced = synced.and_then(|positions| positions.get(position).copied());
            synced.or_else(|| index.unsynced.body(queue, position))
        };
        body.map_or(Ok(None), |body| self.read(body))
    }

    fn place(&self, body: BodyId) -> Option<Place> {
        let index = lock(&self.index);
        let synced = index.bodies.get(body).map(|body| body.place);
        synced.or_else(|| index.unsynced.place(body))
    }

    fn read_at(&self, body: BodyId, place: Place) -> Result<Option<Message>, StoreError> {
        let (file, seed) = {
            let index = lock(&self.index);
            let Some(segment) = index.segments.get(&place.segment) else { return Ok(None) };
            (Arc::clone(&segment.file), segment.seed.clone())
        };
        let name = segment::name(place.segment);
        let mut bytes = vec![0; usize::try_from(place.bytes).unwrap_or_default()];
        file.read_at(&mut bytes, place.offset.into()).map_err(doing("read", &name))?;
        let read = || {
            let record = record::read(&bytes, &seed)?;
            let mut reader = wire::Reader::new(record.payload);
            let is_body = record.known_kind() == Some(Kind::Body) && reader.u64()? == body.0;
            if is_body { message::read(&mut reader) } else { None }
        };
        let offset = place.offset.into();
        let what = "a message is unreadable";
        read().map(Some).ok_or(StoreError::Damaged { file: name, offset, what })
    }
}
