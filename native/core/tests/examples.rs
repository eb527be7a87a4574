//! Each public type, trait and function of the core has an example, which `cargo test --doc` runs, or names the item
//! whose example shows it. What is read are the sources: items of a module at the margin of the file.
#![allow(clippy::unwrap_used)]

const ITEMS: [&str; 4] = ["pub struct ", "pub enum ", "pub trait ", "pub fn "];

/// The public items of a source without an example, each by its first line.
fn without_example(source: &str) -> Vec<&str> {
    let mut doc = String::new();
    let mut without = Vec::new();
    for line in source.lines() {
        if line.starts_with("///") {
            doc.push_str(line);
        } else if !line.starts_with("#[") {
            let shown = doc.contains("```")
                || doc.contains(" for an example")
                || doc.contains("has an example");
            if ITEMS.iter().any(|item| line.starts_with(item)) && !shown {
                without.push(line);
            }
            doc.clear();
        }
    }
    without
}

#[test]
fn each_public_item_has_an_example() {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let path = file.unwrap().path();
        // The models, a folder of tests, are nobody's to see.
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        assert_eq!(without_example(&source), [""; 0], "{}", path.display());
    }
}

#[test]
fn one_without_is_found() {
    let source = "/// A.\n/// ```\n#[derive(Debug)]\npub struct A;\n\n\
                  /// B.\npub enum B {}\n\n\
                  /// [`A`] has an example.\npub struct C;";
    assert_eq!(without_example(source), ["pub enum B {}"]);
}
