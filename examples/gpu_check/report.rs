// SPDX-License-Identifier: MPL-2.0

//! The page that the check writes.

use std::{fmt, time::Duration};

pub type Cell = String;

/// A table with a name for each row; rows that could not be measured say why.
pub struct Table {
    title: &'static str,
    about: &'static str,
    columns: &'static [&'static str],
    rows: Vec<(String, Result<Vec<Cell>, String>)>,
}

impl Table {
    fn new(title: &'static str, about: &'static str, columns: &'static [&'static str]) -> Self {
        Self {
            title,
            about,
            columns,
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, name: &str, cells: Result<Vec<Cell>, String>) {
        self.rows.push((name.to_owned(), cells));
    }
}

impl Table {
    /// The table; a reason that is new goes to `reasons`, whose numbers the rows give.
    fn write<'a>(&'a self, f: &mut fmt::Formatter<'_>, reasons: &mut Vec<&'a str>) -> fmt::Result {
        writeln!(f, "\n## {}\n\n{}\n", self.title, self.about)?;
        writeln!(f, "| | {} |", self.columns.join(" | "))?;
        writeln!(f, "| --- {}|", "| --- ".repeat(self.columns.len()))?;
        for (name, cells) in &self.rows {
            let cells = match cells {
                Ok(cells) => cells.join(" | "),
                Err(reason) => {
                    let known = reasons.iter().position(|known| known == reason);
                    let number = known.unwrap_or_else(|| {
                        reasons.push(reason);
                        reasons.len() - 1
                    });
                    let others = " | –".repeat(self.columns.len() - 1);
                    format!("not measured ({}){others}", number + 1)
                }
            };
            writeln!(f, "| {name} | {cells} |")?;
        }
        Ok(())
    }
}

/// The whole page.
pub struct Report {
    machine: Vec<(String, String)>,
    pub answers: Table,
    pub speed: Table,
    pub start: Table,
    pub streams: Table,
}

impl Report {
    pub fn new(machine: Vec<(String, String)>) -> Self {
        Self {
            machine,
            answers: Table::new(
                "Answers",
                "The clips' tags by sound, by pictures and by both, each against the processor's in fp32: the largest difference \
                 of a probability (allowed: 0.001 in fp32, 0.02 in fp16) and how often the best tag is the same (it always must be).",
                &[
                    "results",
                    "largest difference",
                    "same best tag",
                    "as it must be",
                ],
            ),
            speed: Table::new(
                "Speed",
                "Pictures or mel patches a second with as many waiting as twice the batch size, beside a loop of nothing but ONNX \
                 Runtime on the same provider and batch size right after it, and the time from a request to its answer.",
                &["a second", "ONNX Runtime alone", "ratio", "p50", "p99"],
            ),
            start: Table::new(
                "Start",
                "Opening the model in a new process until it has answered, with an empty and with a full cache of engines, and the \
                 GPU memory that it holds then.",
                &["cold", "warm", "memory"],
            ),
            streams: Table::new(
                "Streams",
                "How many streams of one picture and one mel patch a second get every answer within a second, on one GPU, without \
                 the decoding of the media.",
                &["streams", "p99"],
            ),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Performance on a GPU\n")?;
        writeln!(f, "Written by `scripts/gpu-check`.\n")?;
        writeln!(f, "| | |\n| --- | --- |")?;
        for (name, value) in &self.machine {
            writeln!(f, "| {name} | {value} |")?;
        }
        let mut reasons = Vec::new();
        for table in [&self.answers, &self.speed, &self.start, &self.streams] {
            table.write(f, &mut reasons)?;
        }
        if !reasons.is_empty() {
            writeln!(f, "\n## Not measured\n")?;
        }
        for (number, reason) in reasons.iter().enumerate() {
            writeln!(f, "{}. {}", number + 1, reason.replace('\n', " "))?;
        }
        Ok(())
    }
}

pub fn milliseconds(duration: Duration) -> Cell {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
