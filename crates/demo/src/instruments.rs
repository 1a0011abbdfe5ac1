/// Something that is traded. All of them are made up.
#[derive(Debug)]
pub(crate) struct Instrument {
    /// The short name, also the last level of its topic.
    pub(crate) symbol: &'static str,
    /// The name in words.
    pub(crate) name: &'static str,
    /// What kind of business it is.
    pub(crate) sector: &'static str,
    /// The price it starts from, in ten-thousandths.
    pub(crate) start: i64,
    /// The smallest step of its price, in ten-thousandths.
    pub(crate) tick: i64,
    /// How lively it is: the chance, in percent, that it moves in one step of the market.
    pub(crate) liveliness: u32,
}

impl Instrument {
    /// Digits after the decimal point that show every price.
    pub(crate) const fn decimals(&self) -> u32 {
        let (mut decimals, mut unit) = (4, self.tick);
        while decimals > 0 && unit % 10 == 0 {
            unit /= 10;
            decimals -= 1;
        }
        decimals
    }
}

const fn row(
    symbol: &'static str,
    name: &'static str,
    sector: &'static str,
    start: i64,
    tick: i64,
    liveliness: u32,
) -> Instrument {
    Instrument { symbol, name, sector, start, tick, liveliness }
}

const TECH: &str = "Technology";
const ENERGY: &str = "Energy";
const HEALTH: &str = "Health";
const FINANCE: &str = "Finance";
const INDUSTRY: &str = "Industry";
const CONSUMER: &str = "Consumer";
const FUTURE: &str = "Commodity";

/// Everything on the market, in the order in which pages show it.
pub(crate) const INSTRUMENTS: &[Instrument] = &[
    row("ARCL", "Arclight Systems", TECH, 1_814_200, 100, 44),
    row("BLTR", "Bluetern Software", TECH, 924_700, 100, 36),
    row("CNTP", "Counterpoint Chips", TECH, 4_127_500, 500, 48),
    row("DLTA", "Deltafold Robotics", TECH, 617_300, 100, 30),
    row("FRNS", "Fernspan Networks", TECH, 288_400, 100, 28),
    row("GLYF", "Glyphworks", TECH, 1_346_800, 100, 33),
    row("KITE", "Kitebridge Cloud", TECH, 2_231_000, 200, 40),
    row("QUAY", "Quayside Data", TECH, 541_900, 100, 26),
    row("AMBR", "Ambergrid Power", ENERGY, 476_200, 100, 30),
    row("HLSN", "Helsund Wind", ENERGY, 339_800, 100, 34),
    row("NRTH", "Northwell Energy", ENERGY, 862_100, 100, 38),
    row("SLPK", "Solpeak Solar", ENERGY, 215_300, 100, 42),
    row("TIDE", "Tidewater Grid", ENERGY, 1_053_400, 100, 25),
    row("ASTR", "Asterine Biotech", HEALTH, 1_578_600, 100, 37),
    row("CALM", "Calmora Health", HEALTH, 734_100, 100, 24),
    row("LUMN", "Lumen Valley Labs", HEALTH, 2_964_000, 200, 29),
    row("MEDA", "Medanova", HEALTH, 428_700, 100, 27),
    row("ORLN", "Orlane Medical", HEALTH, 1_197_300, 100, 31),
    row("WISP", "Wisp Genomics", HEALTH, 173_400, 100, 43),
    row("BCHR", "Beechmoor Bank", FINANCE, 389_600, 100, 33),
    row("CRWN", "Crownfield Insurance", FINANCE, 1_421_900, 100, 26),
    row("HRBR", "Harbour & Lane", FINANCE, 658_400, 100, 28),
    row("LGRD", "Ledgerwood", FINANCE, 976_500, 100, 35),
    row("PNTE", "Ponte Capital", FINANCE, 2_087_200, 200, 39),
    row("ARCH", "Archstone Works", INDUSTRY, 812_700, 100, 25),
    row("CBLE", "Cablestay Group", INDUSTRY, 563_200, 100, 24),
    row("FRGT", "Ironvale Freight", INDUSTRY, 447_300, 100, 27),
    row("GRDR", "Girder & Sons", INDUSTRY, 309_100, 100, 22),
    row("RAIL", "Halcyon Rail", INDUSTRY, 1_268_500, 100, 30),
    row("SPAN", "Longspan Airways", INDUSTRY, 247_800, 100, 41),
    row("BAKR", "Bakerloft Foods", CONSUMER, 518_300, 100, 23),
    row("FJRD", "Fjord Outfitters", CONSUMER, 693_400, 100, 26),
    row("HZEL", "Hazelgate Stores", CONSUMER, 1_102_600, 100, 28),
    row("MOKA", "Mokaline Coffee", CONSUMER, 362_900, 100, 32),
    row("ORCD", "Orchid Motors", CONSUMER, 1_942_300, 100, 46),
    row("ZEPH", "Zephyr & Dunne", CONSUMER, 842_500, 100, 34),
    row("CRDE", "Crude oil, near month", FUTURE, 781_300, 100, 47),
    row("COPR", "Copper, near month", FUTURE, 43_280, 5, 36),
    row("GOLD", "Gold, near month", FUTURE, 24_316_000, 1_000, 45),
    row("WHET", "Wheat, near month", FUTURE, 6_127_500, 2_500, 29),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let symbols: std::collections::BTreeSet<_> = INSTRUMENTS.iter().map(|i| i.symbol).collect();
        assert_eq!(symbols.len(), INSTRUMENTS.len(), "symbols are unique");
        for instrument in INSTRUMENTS {
            let symbol = instrument.symbol;
            assert!(symbol.bytes().all(|b| b.is_ascii_uppercase()), "{symbol}: one topic level");
            assert_eq!(instrument.start % instrument.tick, 0, "{symbol}: starts on a tick");
            let ticks = instrument.start / instrument.tick;
            assert!((1_000..60_000).contains(&ticks), "{symbol}: a tick is about a basis point");
            assert!((1..=100).contains(&instrument.liveliness), "{symbol}: a percentage");
        }
    }

    #[test]
    fn decimals_show_every_tick() {
        for (tick, decimals) in
            [(1, 4), (5, 4), (50, 3), (100, 2), (500, 2), (1_000, 1), (10_000, 0)]
        {
            let instrument = Instrument { tick, ..row("A", "", "", 0, 0, 0) };
            assert_eq!(instrument.decimals(), decimals, "a tick of {tick}");
        }
    }
}
