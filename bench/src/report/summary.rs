use std::fmt::Write as _;

use super::table::{Ratio, geometric_mean};
use crate::compare::{Cell, Figure};

/// A line of what was promised: the figure, and what it should not exceed.
#[derive(Debug)]
struct Line {
    what: String,
    value: f64,
    must: f64,
    aim: f64,
}

/// What was promised, against what was measured.
pub(crate) fn summary(cells: &[Cell], figures: &[Figure]) -> String {
    let mut lines = Vec::new();
    let echo = against(cells, "echo", "", "bare TCP echo");
    if let Some(mean) = geometric_mean(&echo) {
        let worst = echo.iter().copied().fold(0.0, f64::max);
        lines.push(line("echo against bare TCP echo, all cells", mean, 1.15, 1.05));
        lines.push(line("echo against bare TCP echo, the worst cell", worst, 1.35, 1.35));
    }
    if let Some(mean) = geometric_mean(&against(cells, "STOMP fan-out", "", "bare loop")) {
        lines.push(line("STOMP fan-out against the bare loop, all cells", mean, 1.25, 1.10));
    }
    for (peer, scenario, burst, must) in PEERS {
        let cell = format!("1 to 1000, {burst} a turn");
        if let [ratio] = against(cells, scenario, &cell, peer)[..] {
            lines.push(line(
                &format!("{scenario} {cell} against {peer}"),
                ratio,
                1.0 / must,
                1.0 / must,
            ));
        }
    }
    if let Some(mean) = geometric_mean(&against(cells, "two cores", "", "one core")) {
        lines.push(line("two cores against one", mean, 1.15, 1.0));
    }
    if let Some(mean) = geometric_mean(&against(cells, "stalled subscriber", "", "none stalled")) {
        lines.push(line("one stalled subscriber against none", mean, 1.10, 1.0));
    }
    for figure in figures {
        if let Some(most) = figure.most {
            let what = format!("{}, {} ({})", figure.scenario, figure.what, figure.unit);
            lines.push(line(&what, figure.value, most, most));
        }
    }
    let mut text = String::new();
    for Line { what, value, must, aim } in lines {
        let verdict = match value {
            value if value <= aim => "met",
            value if value <= must => "within the must",
            _ => "NOT met",
        };
        let aim = if aim == must { String::new() } else { format!(", aim {aim:.2}") };
        writeln!(text, "{what:<62} {value:>9.3}  (must {must:.3}{aim}) {verdict}").ok();
    }
    text
}

/// Products, and by what factor they should need more.
const PEERS: &[(&str, &str, usize, f64)] = &[
    ("tokio-tungstenite", "broadcast", 1, 1.0 / 1.05),
    ("tokio-tungstenite", "broadcast", 16, 1.0 / 1.05),
    ("fastwebsockets", "broadcast", 1, 1.0 / 1.05),
    ("fastwebsockets", "broadcast", 16, 1.0 / 1.05),
    ("npm ws", "broadcast", 1, 1.0),
    ("npm ws", "broadcast", 16, 1.0),
    ("Kaazing 5.6.2", "broadcast", 1, 1.5),
    ("Kaazing 5.6.2", "broadcast", 16, 15.0),
    ("socket.io", "broadcast", 1, 1.0),
    ("socket.io", "broadcast", 16, 1.0),
    ("centrifuge", "broadcast", 1, 1.3),
    ("centrifuge", "broadcast", 16, 1.0),
    ("nats-server", "broadcast", 1, 1.0),
    ("nats-server", "broadcast", 16, 1.0),
    ("mosquitto", "broadcast", 1, 1.0),
    ("mosquitto", "broadcast", 16, 1.0),
    ("nchan", "broadcast", 1, 1.0),
    ("nchan", "broadcast", 16, 1.0),
    ("Artemis 2.44", "STOMP fan-out", 1, 7.0),
    ("Artemis 2.44", "STOMP fan-out", 16, 25.0),
    ("RabbitMQ", "STOMP fan-out", 1, 8.0),
    ("RabbitMQ", "STOMP fan-out", 16, 60.0),
];

fn line(what: &str, value: f64, must: f64, aim: f64) -> Line {
    Line { what: what.to_owned(), value, must, aim }
}

/// Of each cell of a scenario, what the first needs for what this one needs 1.
fn against(cells: &[Cell], scenario: &str, cell: &str, who: &str) -> Vec<f64> {
    let cells = cells.iter().filter(|it| it.scenario == scenario && it.name.contains(cell));
    cells
        .filter_map(|cell| {
            let other = cell.entries.iter().find(|entry| entry.name == who)?;
            Ratio::of(cell.entries.first()?, other).map(|ratio| ratio.mean)
        })
        .collect()
}
