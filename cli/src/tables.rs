// SPDX-License-Identifier: MPL-2.0

//! The forms in which `instruments merge` writes an archive's records as one table.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::record::RecordWriter;
use parquet_derive::ParquetRecordWriter;
use serde_json::Value;

use crate::formats::csv;

/// Rows that are kept until they are written as one row group.
const ROWS: usize = 1 << 16;

/// A table that takes one record after the other.
pub trait Table {
    /// Takes a record: JSON lines, of segments and of the whole input.
    fn add(&mut self, record: &str) -> Result<()>;
    /// Writes what is left.
    fn finish(&mut self) -> Result<()>;
}

/// The records as they are.
pub struct JsonLines<W>(pub W);

impl<W: Write> Table for JsonLines<W> {
    fn add(&mut self, record: &str) -> Result<()> {
        Ok(self.0.write_all(record.as_bytes())?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

/// Comma-separated values, a line a segment.
pub struct Csv<W>(W);

impl<W: Write> Csv<W> {
    /// Writes the head.
    pub fn new(mut out: W) -> Result<Self> {
        out.write_all(csv::head(false).as_bytes())?;
        Ok(Self(out))
    }
}

impl<W: Write> Table for Csv<W> {
    fn add(&mut self, record: &str) -> Result<()> {
        for line in lines(record).filter(|line| line["type"] == "segment") {
            let text = |key: &str| match &line[key] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            let keys = [
                "uri", "start", "end", "label", "source", "score", "heard", "seen",
            ];
            let values = keys.map(text);
            self.0
                .write_all(csv::line(values.each_ref().map(String::as_str)).as_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

/// A row of the Parquet table: a segment, or an input as a whole. Times are in seconds; what a row has no value for is
/// null.
#[derive(ParquetRecordWriter)]
struct Row {
    uri: String,
    /// `segment` or `file`.
    r#type: String,
    start: Option<f64>,
    end: Option<f64>,
    label: Option<String>,
    source: Option<String>,
    score: Option<f64>,
    heard: Option<f64>,
    seen: Option<f64>,
    duration: Option<f64>,
    elapsed: Option<f64>,
    /// Why the input could not be tagged.
    error: Option<String>,
}

impl Row {
    fn of(line: &Value) -> Self {
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let number = |key: &str| line[key].as_f64();
        Self {
            uri: text("uri").unwrap_or_default(),
            r#type: text("type").unwrap_or_default(),
            start: number("start"),
            end: number("end"),
            label: text("label"),
            source: text("source"),
            score: number("score"),
            heard: number("heard"),
            seen: number("seen"),
            duration: number("duration"),
            elapsed: number("elapsed"),
            error: text("error"),
        }
    }
}

/// An Apache Parquet file, a row a segment and a row an input.
pub struct Parquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    rows: Vec<Row>,
}

impl<W: Write + Send> Parquet<W> {
    /// Begins the file.
    pub fn new(out: W) -> Result<Self> {
        let rows: [Row; 0] = [];
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let properties = Arc::new(properties.build());
        Ok(Self {
            writer: SerializedFileWriter::new(out, rows.as_slice().schema()?, properties)?,
            rows: Vec::new(),
        })
    }

    fn write_rows(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        self.rows.as_slice().write_to_row_group(&mut group)?;
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}

impl<W: Write + Send> Table for Parquet<W> {
    fn add(&mut self, record: &str) -> Result<()> {
        self.rows.extend(lines(record).map(|line| Row::of(&line)));
        if self.rows.len() >= ROWS {
            self.write_rows()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if !self.rows.is_empty() {
            self.write_rows()?;
        }
        self.writer.finish()?;
        Ok(())
    }
}

fn lines(record: &str) -> impl Iterator<Item = Value> {
    record
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    const RECORD: &str = r#"{"uri":"a","type":"segment","start":0.5,"end":2.0,"label":"Guitar","source":"audio","score":0.9,"heard":0.9,"seen":null}
{"uri":"a","type":"file","duration":2.0,"elapsed":0.1,"instruments":[]}
"#;

    #[test]
    fn a_parquet_file_has_a_row_a_line() {
        let mut file = Vec::new();
        let mut table = Parquet::new(&mut file).unwrap();
        table.add(RECORD).unwrap();
        table
            .add("{\"uri\":\"b\",\"type\":\"file\",\"error\":\"no\"}\n")
            .unwrap();
        table.finish().unwrap();
        drop(table);
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].get_string(4).unwrap(), "Guitar");
        assert_eq!(rows[0].get_double(3).unwrap(), 2.0);
        // Nulls.
        assert!(rows[0].get_double(8).is_err());
        assert_eq!(rows[1].get_double(9).unwrap(), 2.0);
        assert_eq!(rows[2].get_string(11).unwrap(), "no");
    }

    #[test]
    fn a_csv_line_is_a_segment() {
        let mut text = Vec::new();
        let mut table = Csv::new(&mut text).unwrap();
        table.add(RECORD).unwrap();
        table.finish().unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            format!("{}a,0.5,2.0,Guitar,audio,0.9,0.9,\n", csv::head(false))
        );
    }
}
