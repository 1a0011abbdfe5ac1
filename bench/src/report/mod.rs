//! What is told about the measurements.
mod summary;
mod svg;
pub(crate) mod table;

use std::{error::Error, fs, path::Path};

use serde::Serialize;

use crate::compare::{Cell, Figure};

/// Everything, as it is kept.
#[derive(Debug, Serialize)]
struct Results<'a> {
    machine: &'a str,
    cells: &'a [Cell],
    figures: &'a [Figure],
}

/// Writes the tables, the charts and all rounds, and says how the promises stand.
pub(crate) fn write(
    folder: &Path,
    machine: &str,
    cells: &[Cell],
    figures: &[Figure],
) -> Result<String, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let results = Results { machine, cells, figures };
    fs::write(folder.join("results.json"), serde_json::to_string_pretty(&results)?)?;

    let summary = summary::summary(cells, figures);
    let mut text = format!("{machine}\n");
    cells.iter().for_each(|cell| text += &table::cell(cell));
    text.push('\n');
    figures.iter().for_each(|figure| text += &table::figure(figure));
    text += &format!("\n{summary}");
    fs::write(folder.join("results.txt"), text)?;

    for scenario in names(cells.iter().map(|cell| &cell.scenario)) {
        let of_it: Vec<&Cell> = cells.iter().filter(|cell| cell.scenario == *scenario).collect();
        fs::write(file(folder, scenario), svg::cpu(scenario, &of_it)?)?;
    }
    let idle: Vec<&Figure> =
        figures.iter().filter(|figure| figure.scenario == "idle memory").collect();
    if !idle.is_empty() {
        fs::write(file(folder, "idle memory"), svg::figures("idle memory", &idle)?)?;
    }
    Ok(summary)
}

fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut names: Vec<&String> = all.collect();
    names.dedup();
    names
}

fn file(folder: &Path, scenario: &str) -> std::path::PathBuf {
    folder.join(format!("{}.svg", scenario.to_lowercase().replace(' ', "-")))
}
