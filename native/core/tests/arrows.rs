//! The files of this crate lie in floors: each uses only files of floors below its own.
//!
//! What is read are the sources: every `crate::…` outside of comments and of the tests at a file's end. Not seen is
//! what a macro of another crate would name, and what is called through a trait: a host that calls back, say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::collections::{BTreeMap, BTreeSet};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Those that know everybody: the root, which only names the others, and the loom models, which are tests.
const HALLS: [&str; 2] = ["lib", "models"];

fn sources() -> BTreeMap<String, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// What a source names right behind `crate::`, each name of `crate::{…}` included.
fn used(source: &str) -> BTreeSet<String> {
    let shipped = source.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let shipped = shipped
        .split("\n#[cfg(all(test, not(loom)))]\nmod tests")
        .next()
        .unwrap();
    let code: String = shipped
        .lines()
        .map(|line| line.split("//").next().unwrap().trim().to_owned() + "\n")
        .collect();
    code.split("crate::").skip(1).flat_map(heads).collect()
}

/// The first names of a path, or of each path in a pair of braces.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let Some(list) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut depth, mut heads, mut start) = (1, Vec::new(), 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && c == ',' {
            heads.push(name(&list[start..at]));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn arrows() -> Arrows {
    let mut arrows = Arrows::new();
    for (file, source) in sources() {
        if !HALLS.contains(&file.as_str()) {
            arrows.insert(file, used(&source));
        }
    }
    arrows
}

/// Takes away, floor by floor, whoever uses nobody that is left. What remains goes in circles, or leads into one.
fn circles(mut arrows: Arrows) -> Arrows {
    loop {
        let ground: BTreeSet<String> = arrows
            .iter()
            .filter(|(_, used)| used.is_empty())
            .map(|(file, _)| file.clone())
            .collect();
        if ground.is_empty() {
            return arrows;
        }
        arrows.retain(|file, _| !ground.contains(file));
        for used in arrows.values_mut() {
            used.retain(|file| !ground.contains(file));
        }
    }
}

#[test]
fn no_file_uses_another_that_uses_it() {
    let arrows = arrows();
    let all: BTreeSet<String> = arrows.values().flatten().cloned().collect();
    assert!(all.contains("vocabulary") && all.contains("role"));
    assert_eq!(circles(arrows), Arrows::new());
}

#[test]
fn what_is_used_is_a_file_and_not_what_the_root_hands_on() {
    let arrows = arrows();
    for (file, used) in &arrows {
        let strangers: Vec<_> = used
            .iter()
            .filter(|name| !arrows.contains_key(*name))
            .collect();
        assert!(strangers.is_empty(), "{file} uses {strangers:?}");
    }
    assert_eq!(arrows["vocabulary"], BTreeSet::new());
}

/// The names on the map in the order in which they stand there; descriptions are more than one word.
fn map() -> Vec<String> {
    let root = sources().remove("lib").unwrap();
    let (_, map) = root.split_once("```text").unwrap();
    let (map, _) = map.split_once("```").unwrap();
    let columns = map
        .lines()
        .flat_map(|line| line[3.min(line.len())..].split("  "));
    let words = columns.map(str::trim).filter(|column| !column.is_empty());
    words.step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_map_has_every_file_above_all_that_it_uses() {
    let (arrows, map) = (arrows(), map());
    let files: BTreeSet<&String> = arrows.keys().collect();
    assert_eq!(map.iter().collect::<BTreeSet<_>>(), files);
    let place = |file: &str| map.iter().position(|other| other == file);
    for (file, used) in &arrows {
        for other in used {
            assert!(
                place(file) < place(other),
                "{file} uses {other}, which is above it"
            );
        }
    }
}

#[test]
fn a_circle_would_be_found() {
    let circle = |text: &str| {
        let arrows = text.split(' ').map(|arrow| {
            let (from, to) = arrow.split_once('>').unwrap();
            let to = to.split(',').filter(|to| !to.is_empty()).map(str::to_owned);
            (from.to_owned(), to.collect())
        });
        circles(arrows.collect()).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(circle("a>b,c b>c c>"), [""; 0]);
    assert_eq!(circle("a>b b>c c>b d>"), ["a", "b", "c"]);
    let source = "use crate::role::Role; // crate::no\nlet x = crate::a::{b};\nuse crate::{\n    c::{D, e}, f,\n};\n\
                  #[cfg(test)]\nmod tests {\n    use crate::models;\n}";
    let found: Vec<String> = used(source).into_iter().collect();
    assert_eq!(found, ["a", "c", "f", "role"]);
}
