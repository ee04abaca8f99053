//! The third-party notices against the crates that are really linked.
//! `UPDATE_LICENSES=1 cargo test -p zerocloud --test licenses` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

struct Crate {
    name: String,
    version: String,
    license: String,
    directory: PathBuf,
}

#[test]
fn the_notices_are_those_of_the_crates_that_are_linked() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("licenses/NOTICES.txt");
    let expected = notices(&linked_crates());
    if std::env::var_os("UPDATE_LICENSES").is_some() {
        std::fs::write(&path, &expected).expect("the notices can be written");
    }
    let found = std::fs::read_to_string(&path).expect("the notices are there");
    assert!(
        found == expected,
        "{} is not up to date; run: UPDATE_LICENSES=1 cargo test -p zerocloud --test licenses",
        path.display()
    );
}

#[test]
fn every_linked_crate_has_a_permissive_licence() {
    for one in linked_crates() {
        let choices = one.license.replace(['(', ')'], "");
        let is_permissive = |term: &str| {
            [
                "MIT",
                "Apache-2.0",
                "BSD-2-Clause",
                "BSD-3-Clause",
                "ISC",
                "Zlib",
                "Unicode-3.0",
                "OpenSSL",
                "CC0-1.0",
                "0BSD",
                "BSL-1.0",
                "Unlicense",
                "MIT-0",
                "OpenLDAP",
                "OLDAP-2.8",
                "CDLA-Permissive-2.0",
            ]
            .contains(&term.split(" WITH ").next().expect("split gives one").trim())
        };
        let choice = |choice: &str| choice.split(" AND ").all(is_permissive);
        // `MIT/Apache-2.0` is the older way to write OR.
        let permissive = choices.replace('/', " OR ").split(" OR ").any(choice);
        assert!(permissive, "{} {} has licence {}", one.name, one.version, one.license);
    }
}

fn linked_crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let linked = linked_names();
    let mut crates: Vec<Crate> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|one| !one["source"].is_null())
        .filter(|one| linked.contains(&(text(&one["name"]), text(&one["version"]))))
        .map(|one| Crate {
            name: text(&one["name"]),
            version: text(&one["version"]),
            license: text(&one["license"]),
            directory: Path::new(&text(&one["manifest_path"])).parent().expect("a file").to_path_buf(),
        })
        .collect();
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    crates
}

/// Names and versions of what a build of this package alone links: `cargo metadata` joins the features that all members of the
/// workspace ask for. Build scripts and tests do not travel in the binary.
fn linked_names() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "zerocloud", "--edges", "normal", "--prefix", "none", "--offline"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let names = lines.lines().map(|line| {
        let (name, rest) = line.split_once(" v").expect("a name and a version");
        let version = rest.split_whitespace().next().expect("a version");
        (name.to_owned(), version.to_owned())
    });
    names.collect()
}

/// Libraries in C that a crate brings along, with a licence text of their own.
const C_SOURCES: [(&str, &str); 2] =
    [("libmimalloc-sys", "c_src/mimalloc/v3"), ("lmdb-master-sys", "lmdb/libraries/liblmdb")];

/// The list, then each text once with the crates that carry it.
fn notices(crates: &[Crate]) -> String {
    let mut out = String::from(
        "Libraries in zerocloud, each with its version and licence; the texts follow the list.\n\n",
    );
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in crates {
        out.push_str(&format!("{} {} {}\n", one.name, one.version, one.license));
        let inner = C_SOURCES.iter().filter(|(name, _)| *name == one.name);
        let directories = inner.map(|(_, inner)| one.directory.join(inner));
        for text in
            std::iter::once(one.directory.clone()).chain(directories).flat_map(|it| license_texts(&it))
        {
            texts.entry(text).or_default().push(format!("{} {}", one.name, one.version));
        }
    }
    for (text, carriers) in texts {
        out.push_str(&format!("\n{}\n{}\n\n{text}\n", "=".repeat(80), carriers.join(", ")));
    }
    out
}

fn license_texts(directory: &Path) -> Vec<String> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the crate's source is there")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let name = path.file_name().expect("an entry has a name").to_string_lossy().to_ascii_uppercase();
            path.is_file()
                && ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
                    .iter()
                    .any(|start| name.starts_with(start))
        })
        .collect();
    names.sort();
    let read = |path: &PathBuf| {
        let text = String::from_utf8_lossy(&std::fs::read(path).expect("readable")).into_owned();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_string()
    };
    names.iter().map(read).filter(|text| !text.is_empty()).collect()
}
