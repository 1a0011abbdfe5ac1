use std::fmt::{self, Write as _};

use super::table::{gain, median};
use crate::{
    compare::{Cell, Figure},
    plan::Round,
};

/// A group of bars: its title, and of each bar the name, the figure and what is written beside it.
type Group = (String, Vec<(String, f64, String)>);

/// The CPU time of a scenario's messages.
pub(crate) fn cpu(scenario: &str, cells: &[&Cell]) -> Result<String, fmt::Error> {
    let groups: Vec<Group> = cells.iter().map(|cell| (cell.name.clone(), bars(cell))).collect();
    chart(scenario, "CPU time of the server for each message, in µs: shorter is better", &groups)
}

/// Memory of idle connections, or other figures of one scenario.
pub(crate) fn figures(scenario: &str, figures: &[&Figure]) -> Result<String, fmt::Error> {
    let mut groups: Vec<Group> = Vec::new();
    for figure in figures {
        let bar =
            (figure.who.clone(), figure.value, format!("{:.0} {}", figure.value, figure.unit));
        match groups.iter_mut().find(|(what, _)| *what == figure.what) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((figure.what.clone(), vec![bar])),
        }
    }
    chart(scenario, "Bytes for each connection: shorter is better", &groups)
}

fn bars(cell: &Cell) -> Vec<(String, f64, String)> {
    let Some(first) = cell.entries.first() else { return Vec::new() };
    let bar = |entry| {
        let micros = median(entry, Round::cpu_ns_each) / 1000.0;
        let factor = gain(first, entry).map(|factor| format!("  {factor:.2}×")).unwrap_or_default();
        (entry.name.clone(), micros, format!("{micros:.2}{factor}"))
    };
    cell.entries.iter().filter(|entry| entry.rounds.iter().any(Option::is_some)).map(bar).collect()
}

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 170.0;
const LENGTH: f64 = 450.0;
const ROW: f64 = 22.0;

fn chart(title: &str, subtitle: &str, groups: &[Group]) -> Result<String, fmt::Error> {
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = 76.0 + rows as f64 * ROW + groups.len() as f64 * 44.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"10\"/>\n\
         <text class=\"title\" x=\"24\" y=\"36\">{title}</text>\n<text class=\"soft\" x=\"24\" y=\"56\">{subtitle}</text>\n"
    );
    let mut y = 92.0;
    for (name, bars) in groups {
        writeln!(svg, "<text class=\"group\" x=\"24\" y=\"{y}\">{name}</text>")?;
        y += 12.0;
        let longest = bars.iter().map(|(_, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (who, value, label) in bars {
            let class = match who.as_str() {
                "passerelle" | "one stalled" | "two cores" | "through gateway" => "passerelle",
                name if name.starts_with("bare") => "bare",
                _ => "other",
            };
            let length = (value / longest * LENGTH).max(2.0);
            let middle = y + ROW / 2.0 + 4.0;
            writeln!(
                svg,
                "<text class=\"who\" x=\"{}\" y=\"{middle}\">{who}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" rx=\"3\"/>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{middle}\">{label}</text>",
                LEFT - 10.0,
                y + 3.0,
                ROW - 6.0,
                LEFT + length + 8.0,
            )?;
            y += ROW;
        }
        y += 32.0;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1d2733;white-space:pre}.page{fill:#fff}\
    .title{font-size:18px;font-weight:600}.group{font-weight:600}.soft{fill:#5d6b7a}\
    .who{text-anchor:end}.value{fill:#5d6b7a;font-variant-numeric:tabular-nums}\
    .passerelle{fill:#0f7b6c}.bare{fill:#aab4bf}.other{fill:#7d9cc0}\
    @media(prefers-color-scheme:dark){text{fill:#e4e9ee}.page{fill:#161b22}.soft,.value{fill:#9aa7b4}\
    .passerelle{fill:#2fb9a3}.bare{fill:#59636e}.other{fill:#4d6f99}}";
