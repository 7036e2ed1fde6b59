//! The files that an argument stands for, and the JSON in them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Files larger than this are refused before they are read.
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// A file that triggers may be in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// Whether it was given by name, or lies in a folder that was.
    pub(super) named: bool,
}

/// The files of an argument: itself, the triggers of a git folder, or all JSON of another folder.
///
/// # Errors
/// In words, when the folder cannot be read, or holds no JSON.
pub(super) fn of(path: &Path) -> Result<Vec<File>, String> {
    if !path.is_dir() {
        return Ok(vec![File { path: path.to_owned(), named: true }]);
    }
    let own = path.join("trigger");
    let folder = if own.is_dir() { own } else { path.to_owned() };
    let mut files = Vec::new();
    let mut folders = Vec::new();
    let listed = std::fs::read_dir(&folder).map_err(|error| error.to_string())?;
    for entry in listed {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            folders.push(path);
        } else if is_json(&path) {
            files.push(File { path, named: false });
        }
    }
    files.sort();
    folders.sort();
    if !files.is_empty() {
        return Ok(files);
    }
    // A level above: the root of a publish branch holds a folder for each factory.
    let holds = |folder: &PathBuf| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        folder.join("trigger").is_dir() || entries.any(|entry| is_json(&entry.path()))
    };
    let near: Vec<String> =
        folders.iter().filter(|folder| holds(folder)).map(|folder| folder.display().to_string()).collect();
    Err(match near.is_empty() {
        true => "there are no JSON files in it".to_owned(),
        false => format!("there are no JSON files in it; give a folder that holds some: {}", near.join(", ")),
    })
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// The file beside a template that holds the values of its parameters, by the names that Data Factory, the portal
/// and Bicep give the two.
pub(super) fn parameters_beside(path: &Path) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_str()?;
    let names = match stem {
        "ARMTemplateForFactory" => "ARMTemplateParametersForFactory.json".to_owned(),
        "arm_template" => "arm_template_parameters.json".to_owned(),
        "template" if path.with_file_name("parameters.json").is_file() => "parameters.json".to_owned(),
        numbered if numbered.starts_with("ArmTemplate_") => "ArmTemplateParameters_master.json".to_owned(),
        other => format!("{other}.parameters.json"),
    };
    Some(path.with_file_name(names)).filter(|beside| beside.is_file())
}

/// The JSON of a file.
///
/// # Errors
/// In words, without the file's name: it cannot be read, or is no JSON, with the place and what it is instead.
pub(super) fn json(file: &File) -> Result<Value, String> {
    // A pipe that is given by name is read; in a folder it would be waited for without end.
    if !file.named && !file.path.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let bytes = bytes(&file.path)?;
    let text = text(&bytes)?;
    serde_json::from_str(text).map_err(|error| match merge_mark(text) {
        Some((line, mark)) => {
            format!("it is no JSON: line {line} begins with '{mark}', which is left of a merge that was not finished")
        }
        None => format!("it is no JSON: {error}"),
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > MOST_BYTES {
        true => Err("it is larger than 32 MiB; files of that size are refused".to_owned()),
        false => Ok(bytes),
    }
}

/// The text of a file, or how it is written instead.
fn text(bytes: &[u8]) -> Result<&str, String> {
    let in_utf_16 = || {
        let of_ascii = |at: usize| {
            let mut pairs = bytes.chunks_exact(2).take(32).map(|pair| pair[at] == 0 && pair[1 - at] != 0);
            bytes.len() > 3 && pairs.all(|zero| zero)
        };
        bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || of_ascii(0) || of_ascii(1)
    };
    if in_utf_16() {
        return Err(
            "it is text in UTF-16, as '>' of Windows PowerShell writes it; save it as UTF-8".to_owned()
        );
    }
    // Files of Windows tools begin with a mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!(
            "it is no text in UTF-8 from line {line} on, perhaps Latin-1 or Windows-1252; save it as UTF-8"
        )
    })?;
    match text.trim().is_empty() {
        true => Err("the file is empty".to_owned()),
        false => Ok(text),
    }
}

/// The first line that begins with a mark of a merge.
fn merge_mark(text: &str) -> Option<(usize, &'static str)> {
    let mark = |line: &str| {
        ["<<<<<<<", ">>>>>>>", "|||||||", "======="].into_iter().find(|mark| line.starts_with(mark))
    };
    text.lines().enumerate().find_map(|(at, line)| Some((at + 1, mark(line)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_json_says_what_it_is_instead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        let said = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            json(&File { path: path.clone(), named: true })
        };
        let utf_16: Vec<u8> = "{\"a\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big_endian: Vec<u8> = "{\"a\": 1}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, part) in [
            (utf_16.as_slice(), "UTF-16"),
            (&[b"\xff\xfe", utf_16.as_slice()].concat(), "UTF-16"),
            (&big_endian, "UTF-16"),
            (&[b"\xfe\xff", big_endian.as_slice()].concat(), "UTF-16"),
            (b"{\n\"name\": \"Gr\xf6\xdfe\"}", "no text in UTF-8 from line 2 on, perhaps Latin-1"),
            (b"", "the file is empty"),
            (b"\xef\xbb\xbf \n", "the file is empty"),
            (b"{\n<<<<<<< main\n}", "line 2 begins with '<<<<<<<', which is left of a merge"),
            (b"{\n  \"a\": 1,\n}", "it is no JSON: trailing comma at line 3 column 1"),
            ("[".repeat(100_000).as_bytes(), "it is no JSON: recursion limit exceeded"),
        ] {
            let why = said(bytes).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(said(b"\xef\xbb\xbf{}").unwrap(), serde_json::json!({}));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(json(&File { path, named: true }).unwrap_err(), "there is no such file");
    }
}
