//! What the program is built of.

use std::path::Path;

/// All source text below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn no_package_is_downloaded_and_built_that_the_program_does_not_use() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let names: Vec<&str> = rest
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split([' ', '.', '=']).next())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let mut text = String::new();
    sources(&root.join("src"), &mut text);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: std::collections::HashSet<&str> = text.split(|c| !word(c)).collect();
    let unused: Vec<&&str> =
        names.iter().filter(|name| !words.contains(name.replace('-', "_").as_str())).collect();
    assert!(unused.is_empty(), "Cargo.toml lists {unused:?}, which src/ never names");
}
