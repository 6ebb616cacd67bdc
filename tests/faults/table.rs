// SPDX-License-Identifier: MPL-2.0

//! The tables of `docs/reliability.md` name tests that exist.

use std::fs;

use crate::common::root;

/// The cells of each row below the head of a table with the columns fault, outcome and test.
fn rows() -> Vec<Vec<String>> {
    let document = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let faults = document
        .split("\n## Faults")
        .nth(1)
        .expect("a section Faults");
    faults
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>())
        .filter(|cells| cells[0] != "fault" && !cells[0].starts_with("---"))
        .collect()
}

/// The test that `name` stands for: `avfuse::TEST` is in `tests/avfuse.rs`, `faults::life::TEST` in
/// `tests/faults/life.rs`, `mel::segment::TEST` in `src/mel/segment.rs`.
fn exists(name: &str) -> bool {
    let Some((place, test)) = name.rsplit_once("::") else {
        return false;
    };
    let place = place.trim_end_matches("::tests").replace("::", "/");
    let sources = ["tests", "src", "cli/tests", "cli/src"]
        .into_iter()
        .flat_map(|folder| {
            [
                format!("{folder}/{place}.rs"),
                format!("{folder}/{place}/mod.rs"),
            ]
        })
        .filter_map(|file| fs::read_to_string(root().join(file)).ok());
    let function = format!("fn {test}(");
    sources.into_iter().any(|source| {
        source.split("#[test]").skip(1).any(|after| {
            let head = after.split('{').next().unwrap_or_default();
            head.contains(&function)
        })
    })
}

#[test]
fn every_fault_has_an_outcome_and_a_test_that_exists() {
    let rows = rows();
    assert!(rows.len() >= 60, "{} faults", rows.len());
    for cells in rows {
        assert_eq!(cells.len(), 3, "{cells:?}");
        assert!(!cells[1].is_empty(), "{cells:?}");
        for name in cells[2].split(", ") {
            let name = name.trim_matches('`');
            assert!(exists(name), "there is no test {name}: {cells:?}");
        }
    }
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    assert!(exists(
        "faults::table::a_test_that_does_not_exist_is_noticed"
    ));
    assert!(!exists("faults::table::rows"));
    assert!(!exists("faults::table::nothing"));
    assert!(!exists("nowhere::nothing"));
}
