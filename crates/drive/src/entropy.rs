//! Random bits from the kernel, a page at a time.

/// Random bits that no peer can foresee.
#[derive(Debug)]
pub(crate) struct Entropy {
    page: [u8; PAGE],
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { page: [0; PAGE], used: PAGE }
    }
}

impl Entropy {
    /// The next 128 bits.
    ///
    /// # Panics
    /// When the kernel returns no random bits, without which nothing here is safe.
    #[expect(clippy::expect_used, reason = "no safe way to go on")]
    pub(crate) fn next(&mut self) -> u128 {
        if self.used == PAGE {
            getrandom::fill(&mut self.page).expect("random bits from the kernel");
            self.used = 0;
        }
        let mut bits = [0; 16];
        let end = self.used + bits.len();
        if let Some(fresh) = self.page.get_mut(self.used..end) {
            bits.copy_from_slice(fresh);
            fresh.fill(0);
        }
        self.used = end;
        u128::from_ne_bytes(bits)
    }
}

const PAGE: usize = 1024;
