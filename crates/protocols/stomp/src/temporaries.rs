use contract::{Destination, DestinationKind};

/// The temporary destinations of a session: the names it uses, and the real ones.
///
/// A client writes `/temp-queue/orders`; everybody else sees `/temp-queue/<32 hex digits>`.
#[derive(Debug, Default)]
pub(crate) struct Temporaries(Vec<(Destination, Destination)>);

impl Temporaries {
    /// The real destination of a name; `None` when it is a new name. Any name of 32 hex digits is
    /// another client's real one.
    pub(crate) fn resolve(&self, named: &Destination) -> Option<Destination> {
        self.0
            .iter()
            .find_map(|(name, real)| (name == named).then(|| real.clone()))
            .or_else(|| named.random().map(|_| named.clone()))
    }

    /// Gives a name a real destination.
    pub(crate) fn add(&mut self, named: Destination, random: u128) -> Destination {
        let kind = match named.kind() {
            DestinationKind::TempTopic => DestinationKind::TempTopic,
            DestinationKind::Topic | DestinationKind::Queue | DestinationKind::TempQueue => {
                DestinationKind::TempQueue
            }
        };
        let real = Destination::temporary(kind, random);
        self.0.reserve_exact(1);
        self.0.push((named, real.clone()));
        real
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}
